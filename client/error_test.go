// This file tests which refusal is which sentinel.

package client

import (
	"errors"
	"testing"
)

// Codes that older servers send, and what callers decide by.
func TestSentinels(t *testing.T) {
	for _, test := range []struct {
		code, reason string
		is, isNot    []error
	}{
		{"60001", "", []error{ErrUnauthorized}, []error{ErrRateLimited, ErrUserNotFound}},
		{"60003", "", []error{ErrRateLimited}, []error{ErrNotMe, ErrBudgetSpent}},
		{"60003", "other", []error{ErrRateLimited}, []error{ErrNotMe}},
		{"60003", "not-me", []error{ErrRateLimited, ErrNotMe}, []error{ErrBudgetSpent}},
		{"60020", "not-me", []error{ErrCodeWrong}, []error{ErrNotMe, ErrRateLimited, ErrCodeUsed}},
		{"60009", "", []error{ErrRateLimited, ErrBudgetSpent}, []error{ErrNotMe}},
		{"60010", "", []error{ErrRateLimited, ErrBudgetSpent}, nil},
		{"60011", "", []error{ErrRateLimited, ErrBudgetSpent}, nil},
		{"60012", "", []error{ErrRateLimited, ErrBudgetSpent}, nil},
		{"60120", "", []error{ErrRateLimited, ErrBudgetSpent}, nil},
		{"60013", "", []error{ErrCountryClosed}, []error{ErrRateLimited}},
		{"60014", "", []error{ErrCallNotMade}, []error{ErrSMSNotSent, ErrCallsDisabled}},
		{"60065", "", []error{ErrApprovalsDisabled}, []error{ErrNotAllowed, ErrNoDevice}},
		{"69999", "not-me", nil, []error{ErrNotMe, ErrRateLimited}},
		{"", "not-me", nil, []error{ErrNotMe, ErrRateLimited}},
	} {
		err := error(&Error{Code: test.code, Reason: test.reason})
		for _, want := range test.is {
			if !errors.Is(err, want) {
				t.Errorf("%s %s is not %v", test.code, test.reason, want)
			}
		}
		for _, other := range test.isNot {
			if errors.Is(err, other) {
				t.Errorf("%s %s is %v", test.code, test.reason, other)
			}
		}
	}
}

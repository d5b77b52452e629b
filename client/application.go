// This file owns what an application asks about itself.

package client

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Application is what the server knows of the application itself.
type Application struct {
	ID                    int64 // the number that Authy called app_id; receipts have another, which is [Approval.ApplicationID]
	Name                  string
	SMS, Calls, Approvals bool // what is switched on
}

// Application reads about the application that the API key belongs to. It is a good first call: [ErrUnauthorized] means a wrong key.
func (c *Client) Application(ctx context.Context) (Application, error) {
	var answer struct {
		App struct {
			ID        int64  `json:"app_id"`
			Name      string `json:"name"`
			SMS       bool   `json:"sms_enabled"`
			Calls     bool   `json:"phone_calls_enabled"`
			Approvals bool   `json:"onetouch_enabled"`
		} `json:"app"`
	}
	if err := c.do(ctx, call{name: "application details", method: "GET", path: "/protected/json/app/details", repeatable: true}, &answer); err != nil {
		return Application{}, err
	}
	a := answer.App
	return Application{a.ID, a.Name, a.SMS, a.Calls, a.Approvals}, nil
}

// Month is what was counted in one month, in UTC.
type Month struct {
	Year                               int
	Month                              time.Month
	SMS, Calls, Users, Auths, APICalls int64
}

// Statistics are the application's figures.
type Statistics struct {
	Users  int64   // now
	Months []Month // of the last twelve those in which anything was counted, oldest first
}

// Statistics reads the application's figures.
func (c *Client) Statistics(ctx context.Context) (Statistics, error) {
	var answer struct {
		Users int64 `json:"total_users"`
		Stats []struct {
			Month    string `json:"month"`
			Year     int    `json:"year"`
			SMS      int64  `json:"sms_count"`
			Calls    int64  `json:"calls_count"`
			Users    int64  `json:"users_count"`
			Auths    int64  `json:"auths_count"`
			APICalls int64  `json:"api_calls_count"`
		} `json:"stats"`
	}
	const name = "application statistics"
	if err := c.do(ctx, call{name: name, method: "GET", path: "/protected/json/app/stats", repeatable: true}, &answer); err != nil {
		return Statistics{}, err
	}
	read := Statistics{Users: answer.Users}
	for _, m := range answer.Stats {
		at, err := time.Parse("January 2006", m.Month+" "+strconv.Itoa(m.Year))
		if err != nil {
			return Statistics{}, fmt.Errorf("countersign: %s: %w", name, err)
		}
		read.Months = append(read.Months, Month{m.Year, at.Month(), m.SMS, m.Calls, m.Users, m.Auths, m.APICalls})
	}
	return read, nil
}

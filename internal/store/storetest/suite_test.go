package storetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/otp"
)

// invariants is how many there are in docs/security.md.
const invariants = 12

// TestEveryInvariantHasATest: the suite, which runs on both engines, has a test that bears the name of each invariant; so has its row in
// docs/security.md, and every test that is named there or in docs/faults.md exists.
func TestEveryInvariantHasATest(t *testing.T) {
	const root = "../../.."
	doc, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	faults, err := os.ReadFile(filepath.Join(root, "docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, group := range suite {
		for _, test := range group.tests {
			names = append(names, test.name)
		}
	}
	for n := 1; n <= invariants; n++ {
		id := regexp.MustCompile(fmt.Sprintf(`\bINV-%d\b`, n))
		if !id.MatchString(strings.Join(names, "\n")) {
			t.Errorf("no test of the suite is called INV-%d", n)
		}
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| INV-%d \|.*$`, n)).FindString(string(doc))
		if !regexp.MustCompile(fmt.Sprintf(`.storetest. "[^"]*\bINV-%d\b`, n)).MatchString(row) {
			t.Errorf("docs/security.md names no storetest of INV-%d: %q", n, row)
		}
	}
	tests := testNames(t, root)
	for _, name := range regexp.MustCompile("`(Test\\w+|Fuzz\\w+)`").FindAllStringSubmatch(string(doc)+string(faults), -1) {
		if !tests[name[1]] {
			t.Errorf("the documents name %s, which is no test", name[1])
		}
	}
}

// testNames returns the names of all test functions below root.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".cache"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestHistoriesNotice: the models refuse histories that break the rules.
func TestHistoriesNotice(t *testing.T) {
	type told [3]string // client, asked, told; one after the other
	codes, decision := modelOf(tried{used: -1}, tried.give), modelOf(string(approval.Pending), decideModel)
	for name, h := range map[string]struct {
		model porcupine.Model
		ops   []told
		good  bool
	}{
		"a code twice": {codes, []told{{"0", steps[1], "yes"}, {"1", steps[1], "yes"}}, false},
		"a code once":  {codes, []told{{"0", steps[1], "yes"}, {"1", steps[1], otp.ErrUsed.Code}}, true},
		"an older one": {codes, []told{{"0", steps[1], "yes"}, {"1", steps[0], "yes"}}, false},
		"a sixth guess": {codes, []told{
			{"0", "wrong", otp.ErrWrong.Code},
			{"0", "wrong", otp.ErrWrong.Code},
			{"1", "wrong", otp.ErrWrong.Code},
			{"0", "wrong", otp.ErrWrong.Code},
			{"0", "wrong", otp.ErrWrong.Code},
			{"1", "wrong", otp.ErrWrong.Code},
		}, false},
		"two decisions":    {decision, []told{{"0", "approve on phone 0", "yes"}, {"1", "deny on phone 1", "yes"}}, false},
		"a stale read":     {decision, []told{{"0", "approve on phone 0", "yes"}, {"1", "read", "pending"}}, false},
		"the same again":   {decision, []told{{"0", "approve on phone 0", "yes"}, {"1", "approve on phone 0", "yes"}}, true},
		"withdrawn late":   {decision, []told{{"0", "deny on phone 0", "yes"}, {"1", "cancel", "yes"}}, false},
		"decided too late": {decision, []told{{"0", "cancel", "yes"}, {"1", "approve on phone 0", approval.ErrCancelled.Code}}, true},
	} {
		var ops []porcupine.Operation
		for i, op := range h.ops {
			ops = append(ops, porcupine.Operation{ClientId: int(op[0][0] - '0'), Input: op[1], Output: op[2], Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		if got := porcupine.CheckOperations(h.model, ops); got != h.good {
			t.Errorf("%s: explained %v, want %v", name, got, h.good)
		}
	}
}

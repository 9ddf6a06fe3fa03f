package chaos

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clockOff makes time.Now of a binary wrong by some seconds. Timers and durations stay right: so does a machine whose
// clock was set.
func clockOff(t testing.TB, seconds int) []change {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return []change{{
		filepath.Join(strings.TrimSpace(string(root)), "src/time/time.go"),
		"	sec, nsec, mono := runtimeNow()\n	if mono == 0 {\n		return Time{uint64(nsec), sec + unixToInternal, Local}",
		fmt.Sprintf("	sec, nsec, mono := runtimeNow()\n	sec += %d\n	if mono == 0 {\n		return Time{uint64(nsec), sec + unixToInternal, Local}", seconds),
	}}
}

package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hearth/domain/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

type suite struct{ m *testing.M }

// Run runs the tests, stops the servers they share and removes the binaries.
func (s suite) Run() int {
	defer builds.remove()
	return testserver.Run(s.m)
}

// long tells that this is make chaos.
func long() bool { return os.Getenv("HEARTH_TEST_LONG") != "" }

// seed is HEARTH_CHAOS_SEED, or one of the moment.
var seed = sync.OnceValue(func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("HEARTH_CHAOS_SEED"), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano()) % 1_000_000
})

// wanted tells whether a fault is to run: those of HEARTH_CHAOS_FAULTS, separated by commas; without it all, and in
// the short form those that are cheap.
func wanted(name string, cheap bool) bool {
	list := os.Getenv("HEARTH_CHAOS_FAULTS")
	if list == "" {
		return cheap || long()
	}
	return slices.Contains(strings.Split(list, ","), name)
}

// builds are the hearth binaries of this process: the plain one and those with an overlay.
var builds binaries

type binaries struct {
	mu   sync.Mutex // guards what follows; held during a build
	dir  string
	made map[string]string // name to file
}

// change replaces text of a source file, which must be there exactly once; file is below the module's root, or absolute.
// With an empty old it is a file to be added.
type change struct{ file, old, new string }

// build gives the hearth binary of a name, with changes to its sources.
func (b *binaries) build(t testing.TB, name string, changes ...change) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if file := b.made[name]; file != "" {
		return file
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "hearth-chaos-")
		if err != nil {
			t.Fatal(err)
		}
		b.dir, b.made = dir, make(map[string]string)
	}
	file := filepath.Join(b.dir, name)
	args := []string{"build", "-o", file}
	if len(changes) > 0 {
		args = append(args, "-overlay", b.overlay(t, name, changes))
	}
	if out, err := exec.Command("go", append(args, "hearth/cmd/hearth")...).CombinedOutput(); err != nil {
		t.Fatalf("build hearth as %s: %v\n%s", name, err, out)
	}
	b.made[name] = file
	return file
}

// overlay writes the changed sources and the file that go build -overlay wants.
func (b *binaries) overlay(t testing.TB, name string, changes []change) string {
	t.Helper()
	replaced := make(map[string]string)
	for n, c := range changes {
		source := c.file
		if !filepath.IsAbs(source) {
			source, _ = filepath.Abs(filepath.Join("..", "..", "..", c.file)) // the working folder is there
		}
		text, err := c.apply(source, replaced[source])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		changed := filepath.Join(b.dir, fmt.Sprintf("%s-%d%s", name, n, filepath.Ext(source)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[source] = changed
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(b.dir, name+".json")
	if err := os.WriteFile(list, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

// apply is the changed text of a source; before is the file of an earlier change to it.
func (c change) apply(source, before string) (string, error) {
	if c.old == "" {
		return c.new, nil
	}
	if before == "" {
		before = source
	}
	text, err := os.ReadFile(before)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), c.old); n != 1 {
		return "", fmt.Errorf("%s has %d times, not once, %q", c.file, n, c.old)
	}
	return strings.Replace(string(text), c.old, c.new, 1), nil
}

func (b *binaries) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a rest in the temporary folder harms nobody
	}
}

const (
	patience  = 60 * time.Second // for what has to happen, on a machine that is busy
	pollEvery = 20 * time.Millisecond
)

// await polls until met reports true. Its other result says what is there instead, for the failure.
func await(t testing.TB, within time.Duration, what string, met func() (ok bool, got any)) {
	t.Helper()
	if ok, got := awaitOK(within, met); !ok {
		t.Fatalf("%s: not within %v; got %v", what, within, got)
	}
}

func awaitOK(within time.Duration, met func() (ok bool, got any)) (ok bool, got any) {
	for deadline := time.Now().Add(within); ; time.Sleep(pollEvery) {
		if ok, got = met(); ok || time.Now().After(deadline) {
			return ok, got
		}
	}
}

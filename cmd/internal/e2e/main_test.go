package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // testserver makes databases with it
	"go.uber.org/goleak"

	"hearth/domain/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

type suite struct{ m *testing.M }

// Run runs the tests, stops the servers they share and removes the binary.
func (s suite) Run() int {
	defer built.remove()
	return testserver.Run(s.m)
}

// built is the hearth binary of this test process, built when the first test asks for it.
var built binary

type binary struct {
	once sync.Once
	dir  string
	err  error
}

func (b *binary) path(t testing.TB) string {
	t.Helper()
	b.once.Do(b.build)
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.file()
}

func (b *binary) file() string { return filepath.Join(b.dir, "hearth") }

func (b *binary) build() {
	if b.dir, b.err = os.MkdirTemp("", "hearth-e2e-"); b.err != nil {
		return
	}
	args := []string{"build", "-o", b.file()}
	if os.Getenv("HEARTH_TEST_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "hearth/cmd/hearth")...).CombinedOutput()
	if err != nil {
		b.err = fmt.Errorf("build hearth: %w\n%s", err, out)
	}
}

func (b *binary) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a rest in the temporary folder harms nobody
	}
}

// outage is how long a part is away.
func outage() time.Duration {
	if os.Getenv("HEARTH_TEST_LONG") != "" {
		return time.Minute
	}
	return 8 * time.Second
}

const (
	patience  = 30 * time.Second // for what has to happen, on a machine that is busy with other tests
	pollEvery = 20 * time.Millisecond
)

// await polls until met reports true. Its other result says what is there instead, for the failure.
func await(t testing.TB, within time.Duration, what string, met func() (ok bool, got any)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		ok, got := met()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; got %v", what, within, got)
		}
		time.Sleep(pollEvery)
	}
}

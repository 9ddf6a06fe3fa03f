package testserver

import (
	"errors"
	"os"
	"sync"
	"testing"
)

// pool holds what the tests of this process share.
var pool struct {
	mu    sync.Mutex // guards what follows; held while a server is started
	redis *Server
	mysql *Server
	dirs  []string // to be removed at the end
}

// Redis is the address of a redis-server that all tests of the process share: keep keys apart by a prefix.
func Redis(t testing.TB) string {
	t.Helper()
	return shared(t, &pool.redis, func(dir string) (*Server, error) { return LaunchRedis(dir) }).Addr()
}

// MySQL is the DSN of a fresh database on a mariadbd that all tests of the process share. It is dropped when the
// test ends.
func MySQL(t testing.TB) string {
	t.Helper()
	s := shared(t, &pool.mysql, LaunchMySQL)
	name, dsn, err := s.freshDatabase()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	return dsn
}

// StartRedis gives the test a redis-server of its own; args are as on its command line.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return private(t, func(dir string) (*Server, error) { return LaunchRedis(dir, args...) })
}

// StartMySQL gives the test a mariadbd of its own.
func StartMySQL(t testing.TB) *Server {
	t.Helper()
	return private(t, LaunchMySQL)
}

// Main is a *testing.M whose Run is [Run], for those who wrap it.
type Main struct{ M *testing.M }

// Run is [Run].
func (m Main) Run() int { return Run(m.M) }

// Run runs the tests of a package, then stops the shared servers and removes their folders.
func Run(m *testing.M) int {
	defer endSpawner()
	defer StopShared()
	return m.Run()
}

// StopShared stops the shared servers; the next call of Redis or MySQL starts new ones.
func StopShared() {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for _, s := range []**Server{&pool.redis, &pool.mysql} {
		if *s != nil {
			_ = (*s).Kill() // nothing of it is kept
			*s = nil
		}
	}
	for _, dir := range pool.dirs {
		_ = os.RemoveAll(dir) // a rest in the temporary folder harms nobody
	}
	pool.dirs = nil
}

func shared(t testing.TB, s **Server, launch func(dir string) (*Server, error)) *Server {
	t.Helper()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if *s != nil {
		return *s
	}
	dir, err := os.MkdirTemp("", "hearth-test-")
	if err != nil {
		t.Fatal(err)
	}
	pool.dirs = append(pool.dirs, dir)
	if *s, err = launch(dir); err != nil {
		*s = nil
		missing(t, err)
	}
	return *s
}

func private(t testing.TB, launch func(dir string) (*Server, error)) *Server {
	t.Helper()
	s, err := launch(t.TempDir())
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Errorf("kill server: %v", err)
		}
	})
	return s
}

// missing ends a test that has no server: a skip when it is only not installed here.
func missing(t testing.TB, err error) {
	t.Helper()
	var absent *errNotInstalled
	if errors.As(err, &absent) && !required() {
		t.Skip("skipped: " + err.Error())
	}
	t.Fatal(err)
}

func required() bool {
	return os.Getenv("CI") == "true" || os.Getenv("HEARTH_TEST_REQUIRE_SERVERS") != ""
}

package testserver

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// spawner starts processes that the kernel kills together with this one, however it ends. The kernel watches the
// thread that started them, so one goroutine keeps one thread for all.
var spawner struct {
	mu    sync.Mutex // guards calls
	calls chan func()
}

func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	spawner.mu.Lock()
	defer spawner.mu.Unlock()
	if spawner.calls == nil {
		spawner.calls = make(chan func())
		go func(calls <-chan func()) {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			for call := range calls {
				call()
			}
		}(spawner.calls)
	}
	started := make(chan error)
	spawner.calls <- func() { started <- cmd.Start() }
	return <-started
}

// endSpawner ends the goroutine, and with it every process it started.
func endSpawner() {
	spawner.mu.Lock()
	defer spawner.mu.Unlock()
	if spawner.calls != nil {
		close(spawner.calls)
		spawner.calls = nil
	}
}

// stopped reports whether every thread of a process is stopped: the signal reaches them one by one. A process that
// has ended counts as stopped.
func stopped(pid int) bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat") // the pattern is well-formed
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended
		}
		state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
		if !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return true
}

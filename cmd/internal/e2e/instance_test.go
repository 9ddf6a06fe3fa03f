package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one hearth process with its log; start may be called again after its end.
type process struct {
	t    testing.TB
	args []string
	env  []string
	dir  string
	out  string // file with what it prints
	log  string // file with what it logs, over all its lives

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

func (p *process) start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.Create(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(built.path(p.t), p.args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}, p.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, log
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is asked of ProcessState
		close(exited)
	}()
}

// running is nil when the process runs, else how it ended.
func (p *process) running() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("not started")
	}
	select {
	case <-p.exited:
		return fmt.Errorf("ended: %v; its log says:\n%s", p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to %v: %v", s, p.args, err)
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	select {
	case <-exited:
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT)
		<-exited
		p.t.Fatalf("%v does not end; its log and its goroutines say:\n%s", p.args, p.tail())
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// stop is SIGTERM; it must end with status 0.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Fatalf("exit code after SIGTERM: got %d, want 0; its log says:\n%s", code, p.tail())
	}
}

func (p *process) printed() string {
	b, _ := os.ReadFile(p.out) // no file yet: nothing printed
	return string(b)
}

func (p *process) logged() []byte {
	b, _ := os.ReadFile(p.log) // no file yet: nothing logged
	return b
}

// tail is the end of the log without its small talk.
func (p *process) tail() string {
	var lines [][]byte
	for line := range bytes.Lines(p.logged()) {
		if !bytes.Contains(line, []byte(`"level":"debug"`)) && !bytes.Contains(line, []byte("generation current")) {
			lines = append(lines, line)
		}
	}
	return string(bytes.Join(lines[max(0, len(lines)-1000):], nil))
}

// end kills what still runs and looks into the log.
func (p *process) end(secrets []string) {
	if p.running() == nil {
		p.kill()
	}
	log := p.logged()
	for line := range bytes.Lines(log) {
		for _, secret := range secrets {
			if secret != "" && bytes.Contains(line, []byte(secret)) {
				p.t.Errorf("a secret is in the log of %v: %s", p.args, bytes.ReplaceAll(line, []byte(secret), []byte("<SECRET>")))
			}
		}
	}
	for _, word := range []string{"panic:", "DATA RACE", "fatal error:"} {
		if bytes.Contains(log, []byte(word)) {
			p.t.Errorf("%q in the log of %v:\n%s", word, p.args, p.tail())
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of %v:\n%s", p.args, p.tail())
	}
}

// instance is a `hearth serve`.
type instance struct {
	process
	name     string
	addr     string // host:port for everybody
	internal string // host:port for operators
}

func newInstance(t testing.TB, name string, env []string) *instance {
	dir := t.TempDir()
	i := &instance{name: name, addr: freeAddr(t), internal: freeAddr(t)}
	i.process = process{t: t, args: []string{"serve"}, dir: dir, out: filepath.Join(dir, "out"), log: filepath.Join(dir, "log")}
	i.env = append([]string{"HEARTH_NODE_NAME=" + name, "HEARTH_HTTP_ADDR=" + i.addr, "HEARTH_HTTP_INTERNAL_ADDR=" + i.internal}, env...)
	return i
}

func (i *instance) ws() string { return "ws://" + i.addr + "/v1/ws" }

// up starts the instance and waits until it is ready.
func (i *instance) up() {
	i.t.Helper()
	i.start()
	i.awaitReady()
}

func (i *instance) awaitReady() {
	i.t.Helper()
	await(i.t, patience, i.name+" is ready", func() (bool, any) {
		if err := i.running(); err != nil {
			i.t.Fatalf("%s %v", i.name, err)
		}
		status, view, err := i.readyz()
		return status == http.StatusOK, fmt.Sprint(status, view, err)
	})
}

// freeAddr keeps below the range of outgoing connections, so that nobody takes the port between two lives.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close() // it was only a question
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// sharedSecrets are the words that stand in every test's messages or tokens.
var sharedSecrets = []string{quiet, "eyJhbGciOi"}

// quiet starts every text that these tests send: it must not show up in a log.
const quiet = "quiet-words"

func say(words ...any) string { return strings.TrimSpace(quiet + " " + fmt.Sprintln(words...)) }

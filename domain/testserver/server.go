package testserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
	pollEvery    = 5 * time.Millisecond
)

// Server is one server process. Its methods may be called concurrently.
type Server struct {
	binary string
	args   func(port int) []string
	env    func(port int) []string // nil: this process' own
	ready  func(addr string) error // nil once the server answers
	dir    string
	logs   string // file with what the server says

	mu   sync.Mutex // guards what follows; held while the process is started or stopped
	port int
	cmd  *exec.Cmd     // nil before the first start
	gone chan struct{} // closed when cmd has ended
}

// LaunchProgram starts a program that listens on one port, which env is told, and works in dir. ready is nil once it
// answers. The caller stops it.
func LaunchProgram(binary, dir string, args []string, env func(port int) []string, ready func(addr string) error) (*Server, error) {
	s := &Server{binary: binary, dir: dir, logs: filepath.Join(dir, "log"), ready: ready, env: env}
	s.args = func(int) []string { return args }
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr is the host:port it listens on; the same after a Restart.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return addrOf(s.port)
}

func addrOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Log is the file with what it has said, over all its lives.
func (s *Server) Log() string { return s.logs }

// Dir is the folder with its data and log.
func (s *Server) Dir() string { return s.dir }

// PID is the process id; 0 when it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return 0
	}
	return s.cmd.Process.Pid
}

// Kill ends the process with SIGKILL and waits for its end. Killing a dead server does nothing.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Stop asks the process to end and waits; after 20 s it is killed.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Restart starts the server again with the same port and data, after killing it if it runs, and waits until it
// answers.
func (s *Server) Restart() error {
	if err := s.Kill(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start()
}

// Pause freezes the process (SIGSTOP): its connections stay open and silent. When it returns all threads stand still.
func (s *Server) Pause() error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	deadline := time.Now().Add(stopTimeout)
	for !stopped(s.PID()) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not stop", filepath.Base(s.binary))
		}
		time.Sleep(pollEvery)
	}
	return nil
}

// Resume lets a paused process go on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return fmt.Errorf("signal %v: %s does not run", sig, filepath.Base(s.binary))
	}
	return s.cmd.Process.Signal(sig)
}

func (s *Server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// launch starts the server on a port that is free, trying others when somebody else was faster.
func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil || !taken(s.port) && !saysTaken(err) {
			return err
		}
	}
	return err
}

// saysTaken tells that the server had another port in mind, too, as a node of a cluster has.
func saysTaken(err error) bool { return strings.Contains(err.Error(), "Address already in use") }

func taken(port int) bool {
	l, err := net.Listen("tcp", addrOf(port))
	if err == nil {
		_ = l.Close() // it was only a question
	}
	return err != nil
}

// start needs mu.
func (s *Server) start() error {
	log, err := os.OpenFile(s.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.binary, s.args(s.port)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if s.env != nil {
		cmd.Env = s.env(s.port)
	}
	if err := spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	gone := make(chan struct{})
	s.cmd, s.gone = cmd, gone
	go func() {
		_ = cmd.Wait() // how it ended shows in its log
		close(gone)
	}()
	return s.awaitReady()
}

func (s *Server) awaitReady() error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.ready(addrOf(s.port))
		switch {
		case !s.running():
			return fmt.Errorf("%s ended at once; its log says: %s", s.binary, s.logTail())
		case err == nil:
			return nil
		case time.Now().After(deadline):
			_ = s.cmd.Process.Kill()
			<-s.gone
			return fmt.Errorf("%s does not answer after %v: %w; its log says: %s", s.binary, startTimeout, err, s.logTail())
		}
		select {
		case <-s.gone:
		case <-time.After(pollEvery):
		}
	}
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(s.logs)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

func (s *Server) end(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // a paused process does not see SIGTERM
	select {
	case <-s.gone:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
	return nil
}

// freePort keeps below the range of outgoing connections, so that nobody takes the port between a Kill and a
// Restart.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		var l net.Listener
		if l, err = net.Listen("tcp", addrOf(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

// errNotInstalled tells what to install.
type errNotInstalled struct{ binary, install string }

func (e *errNotInstalled) Error() string {
	return fmt.Sprintf("%s is not installed: %s", e.binary, e.install)
}

// lookup finds a server's binary on PATH, then where Debian keeps servers.
func lookup(install string, names ...string) (string, error) {
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path, nil
			}
		}
	}
	return "", &errNotInstalled{names[0], install}
}

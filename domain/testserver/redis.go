package testserver

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// LaunchRedis starts a redis-server that keeps its files in dir, without persistence unless args (as on its
// command line) say otherwise. The caller stops it.
func LaunchRedis(dir string, args ...string) (*Server, error) {
	binary, err := lookup("apt-get install redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	s := &Server{binary: binary, dir: dir, logs: filepath.Join(dir, "redis.log"), ready: redisReady}
	s.args = func(port int) []string {
		return append([]string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no",
			"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
		}, args...)
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// LaunchSentinel starts a redis-server as a Sentinel. It rewrites the configuration file that it is given. The caller
// stops it.
func LaunchSentinel(dir, configuration string) (*Server, error) {
	binary, err := lookup("apt-get install redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	s := &Server{binary: binary, dir: dir, logs: filepath.Join(dir, "sentinel.log"), ready: redisReady}
	s.args = func(port int) []string {
		return []string{configuration, "--sentinel", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no"}
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// redisReady is nil once a PING is answered, also if only with a demand for a password.
func redisReady(addr string) error {
	answer, err := exchange(addr, "PING\r\n")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "+PONG") && !strings.HasPrefix(answer, "-NOAUTH") {
		return fmt.Errorf("PING was answered with %q", answer)
	}
	return nil
}

// exchange sends a request and reads one packet of the answer.
func exchange(addr, request string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	answer := make([]byte, 128)
	n, err := conn.Read(answer)
	return string(answer[:n]), err
}

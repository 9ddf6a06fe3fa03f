package testserver

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestSharedRedisIsOneServer(t *testing.T) {
	first, second := Redis(t), Redis(t)
	if first != second {
		t.Errorf("got two servers, %s and %s, want one", first, second)
	}
	if err := redisReady(first); err != nil {
		t.Error(err)
	}
}

func TestRedisComesBackAtItsAddress(t *testing.T) {
	s := StartRedis(t, "--requirepass", "secret")
	addr, pid := s.Addr(), s.PID()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := redisReady(addr); err == nil {
		t.Error("a killed server still answers")
	}
	if got := s.PID(); got != 0 {
		t.Errorf("PID of a killed server: got %d, want 0", got)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr || s.PID() == pid {
		t.Errorf("after a restart: got %s, process %d, want %s and another process than %d", s.Addr(), s.PID(), addr, pid)
	}
}

func TestPausedRedisIsSilentUntilResumed(t *testing.T) {
	s := StartRedis(t)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.Addr()) // the kernel still accepts
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 7)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server answered %q, %v", answer[:n], err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+PONG\r\n" {
		t.Errorf("after Resume: got %q, %v, want +PONG", answer[:n], err)
	}
}

func TestPausedServerCanBeStopped(t *testing.T) {
	s := StartRedis(t)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if err := s.Pause(); err == nil {
		t.Error("Pause of a stopped server: got nil, want an error")
	}
}

func TestMySQLKeepsItsDataOverAKill(t *testing.T) {
	s := StartMySQL(t)
	if err := mysqlReady(s.Addr()); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := mysqlReady(s.Addr()); err != nil {
		t.Error(err)
	}
}

func TestArgumentsThatTheServerRefusesShowItsLog(t *testing.T) {
	_, err := LaunchRedis(t.TempDir(), "--no-such-option", "1")
	if err == nil {
		t.Fatal("got a server, want an error")
	}
	t.Log(err)
}

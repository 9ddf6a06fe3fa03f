package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestSIGTERM: instances are told to leave under load. Connections get a goodbye and 4000, the process ends with 0 and
// nothing acknowledged is lost.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	users, groups := names("u", 8), names("g", 4)
	for _, g := range groups {
		s.createGroup("group", g, append(users, "f", "idle")...)
	}
	var followers []*follower
	for n, g := range groups {
		followers = append(followers, s.follow("f", g, n))
	}
	l := startLoad(s, users, groups)
	for _, i := range s.instances {
		l.awaitMore(300)
		var idle []*client
		for range 5 {
			c, err := s.dial(i, "idle", nil)
			if err != nil {
				t.Fatal(err)
			}
			idle = append(idle, c)
		}
		i.stop()
		reconnects := make(map[int64]bool)
		for _, c := range idle {
			bye := c.awaitEvent("goodbye")
			if bye.Code != 4000 || bye.Reason == "" || bye.ReconnectAfterMS <= 0 {
				t.Errorf("goodbye: got %s, want code 4000, a reason and reconnect_after_ms", bye.raw)
			}
			reconnects[bye.ReconnectAfterMS] = true
			c.awaitClose(4000)
		}
		if len(reconnects) < 2 {
			t.Errorf("reconnect_after_ms of 5 clients: got %v, want different ones", reconnects)
		}
		l.awaitMore(300)
		i.up()
	}
	l.awaitMore(100)
	acks := l.stop()
	s.exactlyOnce(acks)
	s.complete(t, followers, acks)
}

// TestSIGTERMOfTheLastOne: what the last instance has acknowledged is in MySQL when it has left; with MySQL frozen it
// is in Redis and gets there after the next start.
func TestSIGTERMOfTheLastOne(t *testing.T) {
	t.Parallel()
	const drainTimeout = 5 * time.Second
	s := newStack(t, setup{ownMySQL: true, env: map[string]string{
		"HEARTH_DRAIN_TIMEOUT": drainTimeout.String(), "HEARTH_PERSIST_INTERVAL": "2s",
	}})
	s.createGroup("group", "g", "alice")
	acks := say50(t, s.connect(0, "alice"), 0)
	s.instances[0].stop()
	if n := s.countRows(); n != len(acks) {
		t.Errorf("rows after the exit: got %d, want %d", n, len(acks))
	}
	s.instances[0].up()
	alice := s.connect(0, "alice")
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	acks = append(acks, say50(t, alice, 50)...)
	begun := time.Now()
	s.instances[0].signal(syscall.SIGTERM)
	s.instances[0].wait() // whatever the code: MySQL could not be told
	if took := time.Since(begun); took > drainTimeout+5*time.Second {
		t.Errorf("exit with MySQL frozen: got after %v, want within drain.timeout, %v", took, drainTimeout)
	}
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	s.instances[0].up()
	s.exactlyOnce(acks)
}

// say50 sends 50 messages.
func say50(t *testing.T, c *client, from int) []ack {
	t.Helper()
	draft := func(i int) fields {
		return fields{"group": "g", "body": textBody(say(from + i)), "client_id": fmt.Sprint("c", from+i)}
	}
	answers, err := c.stream(50, 10, draft)
	if err != nil {
		t.Fatal(err)
	}
	var acks []ack
	for i, a := range answers {
		acks = append(acks, ack{sent: a, From: c.user, ClientID: fmt.Sprint("c", from+i), Body: compactText(say(from + i))})
	}
	return acks
}

// TestUnreadyWhileLeaving: for drain.lb_delay the instance says that it is leaving and still serves.
func TestUnreadyWhileLeaving(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{env: map[string]string{"HEARTH_DRAIN_LB_DELAY": "3s"}})
	s.createGroup("room", "r")
	alice := s.connect(0, "alice")
	s.instances[0].signal(syscall.SIGTERM)
	await(t, patience, "unready", func() (bool, any) {
		status, view, err := s.instances[0].readyz()
		return status == http.StatusServiceUnavailable && !view.Ready, fmt.Sprint(status, view, err)
	})
	alice.send("r", say("still served"))
	s.server(0).get("/healthz").ok(200, nil)
	alice.awaitEvent("goodbye")
	alice.awaitClose(4000)
	if code := s.instances[0].wait(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}

// TestATransferDoesNotHoldUpTheEnd: an upload that would take for minutes is cut off, and everybody else's way out is as
// ever.
func TestATransferDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{env: map[string]string{"HEARTH_DRAIN_TIMEOUT": "15s"}})
	s.createGroup("group", "g", "alice")
	alice := s.connect(0, "alice")
	alice.send("g", say("hello"))
	const length = 1 << 20
	up := s.user(0, "alice").slot("image/png", length)
	conn, err := net.Dial("tcp", s.instances[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: hearth\r\nContent-Type: image/png\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", up.UploadURL, length)
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil { // it is being taken
		t.Fatal(err)
	}
	s.instances[0].stop()
	if bye := alice.awaitEvent("goodbye"); bye.Code != 4000 {
		t.Errorf("goodbye: got %s, want code 4000", bye.raw)
	}
	alice.awaitClose(4000)
	if log := s.instances[0].logged(); bytes.Contains(log, []byte("journal not written")) {
		t.Errorf("the journal was not written: %s", log)
	}
}

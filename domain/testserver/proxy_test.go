package testserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

const subscribe = "*2\r\n$10\r\nSSUBSCRIBE\r\n$1\r\na\r\n"

// ends are the two ends of a connection through a proxy.
type ends struct{ client, server net.Conn }

// newEnds gives the test a proxy and what makes connections through it.
func newEnds(t *testing.T) (*Proxy, func() ends) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := NewProxy(t, l.Addr().String())
	return p, func() ends {
		t.Helper()
		client, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		say(t, client, "hello") // through: the proxy knows the connection
		hears(t, server, "hello")
		return ends{client, server}
	}
}

func say(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(conn, what); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

func hearsNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	got := make([]byte, 10)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := conn.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v, want silence", got[:n], err)
	}
}

func isCut(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 10)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, %v, want a closed connection", n, err)
	}
}

func TestProxyCutsSubscribersOnly(t *testing.T) {
	p, connect := newEnds(t)
	sub, other := connect(), connect()
	say(t, sub.client, subscribe[:12]) // in two parts
	hears(t, sub.server, subscribe[:12])
	say(t, sub.client, subscribe[12:])
	hears(t, sub.server, subscribe[12:])
	say(t, other.client, "*1\r\n$4\r\nPING\r\n")
	hears(t, other.server, "*1\r\n$4\r\nPING\r\n")
	if got := len(p.Subscribers()); got != 1 {
		t.Fatalf("subscribers: got %d, want 1", got)
	}
	p.Subscribers().Cut()
	isCut(t, sub.client)
	isCut(t, sub.server)
	say(t, other.server, "+PONG")
	hears(t, other.client, "+PONG")
	p.Links().Cut()
	isCut(t, other.client)
}

func TestProxyHoldsBackUntilResumed(t *testing.T) {
	p, connect := newEnds(t)
	e := connect()
	p.Links().Stall()
	say(t, e.client, "a")
	say(t, e.server, "b")
	hearsNothing(t, e.server)
	hearsNothing(t, e.client)
	p.Links().Resume()
	hears(t, e.server, "a")
	hears(t, e.client, "b")
}

func TestProxyStallsNewSubscribers(t *testing.T) {
	p, connect := newEnds(t)
	p.StallNewSubscribers(true)
	e := connect()
	say(t, e.client, subscribe)
	hearsNothing(t, e.server)
	if got := len(p.Subscribers()); got != 0 {
		t.Errorf("subscribers that are not stalled: got %d, want 0", got)
	}
	p.StallNewSubscribers(false)
	later := connect()
	say(t, later.client, subscribe)
	hears(t, later.server, subscribe)
	hearsNothing(t, e.server)
}

func TestProxyCutsClientsUnknownToTheServer(t *testing.T) {
	p, connect := newEnds(t)
	e := connect()
	p.Links().CutClients()
	isCut(t, e.client)
	hearsNothing(t, e.server)
	p.Links().Cut()
	isCut(t, e.server)
}

func TestProxyLosesRepliesWithTheirConnection(t *testing.T) {
	p, connect := newEnds(t)
	e, other := connect(), connect()
	p.Keep(func(reply []byte) bool { return !bytes.Contains(reply, []byte("OK 2")) })
	say(t, e.server, "OK 1")
	hears(t, e.client, "OK 1")
	say(t, e.server, "OK 2")
	isCut(t, e.client)
	p.Keep(nil)
	say(t, other.server, "OK 2")
	hears(t, other.client, "OK 2")
}

func TestProxyLeadsNewConnectionsElsewhere(t *testing.T) {
	p, connect := newEnds(t)
	before := connect()
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	p.Lead(elsewhere.Addr().String())
	client, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := elsewhere.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	say(t, client, "new")
	hears(t, server, "new")
	say(t, before.client, "old")
	hears(t, before.server, "old")
}

func TestProxyDelaysWhatIsSaid(t *testing.T) {
	p, connect := newEnds(t)
	e := connect()
	p.Delay(50 * time.Millisecond)
	begun := time.Now()
	say(t, e.client, "ping")
	hears(t, e.server, "ping")
	say(t, e.server, "pong")
	hears(t, e.client, "pong")
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("there and back took %v, want 100 ms at least", took)
	}
	p.Delay(0)
}

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"hearth/domain/testserver"
)

// shippedNginx is the example that users get, run as it is but for ports and folders.
const shippedNginx = "../../../configs/nginx.conf"

// behindNginx starts nginx in front of the three instances.
func (s *stack) behindNginx() *testserver.Server {
	s.t.Helper()
	shipped, err := os.ReadFile(filepath.FromSlash(shippedNginx))
	if err != nil {
		s.t.Fatal(err)
	}
	return testserver.StartNginx(s.t, func(port int) string {
		text := s.replaced(string(shipped), "listen 8080;", fmt.Sprintf("listen 127.0.0.1:%d;", port))
		for n, i := range s.instances {
			text = s.replaced(text, fmt.Sprintf("server 127.0.0.1:%d ", 8081+n), "server "+i.addr+" ")
		}
		return text
	})
}

// replaced fails unless old stands in the text once.
func (s *stack) replaced(text, old, by string) string {
	s.t.Helper()
	if n := strings.Count(text, old); n != 1 {
		s.t.Fatalf("%s: %q: got %d times, want once", shippedNginx, old, n)
	}
	return strings.Replace(text, old, by, 1)
}

// through talks HTTP by way of an address that is no instance's.
func (s *stack) through(addr, token string) *caller {
	return &caller{s.t, s.http, "http://" + addr, token}
}

// TestNginxExample: what comes through nginx reaches every instance in turn, the others when one is gone, and is not
// changed on its way.
func TestNginxExample(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3, env: map[string]string{"HEARTH_UPLOADS_DIR": t.TempDir()}})
	nginx := s.behindNginx()
	lb := nginx.Addr()
	s.createGroup("group", "g", "alice", "bob")
	web := s.through(lb, token("alice"))
	connect := func(t *testing.T, user string) *client {
		t.Helper()
		c, err := dial(t, "ws://"+lb+"/v1/ws", token(user), user, nil)
		if err != nil {
			t.Fatalf("connect %s: %v", user, err)
		}
		return c
	}
	t.Run("connections go round", func(t *testing.T) {
		if got := s.in(t).reached(lb, 6); got["i1"] != 2 || got["i2"] != 2 || got["i3"] != 2 {
			t.Errorf("instances reached by 6 connections: got %v, want each twice", got)
		}
	})
	t.Run("messages cross", func(t *testing.T) {
		alice, bob := connect(t, "alice"), connect(t, "bob")
		alice.send("g", say("over the balancer"))
		bob.awaitPushes("g", 1)
	})
	t.Run("the largest body passes, a longer one does not", func(t *testing.T) {
		in := s.in(t).through(lb, token("alice"))
		pad := func(n int) string { return strings.Repeat(" ", n-2) + "{}" }
		in.post("/v1/groups", pad(1<<20)).refused(http.StatusBadRequest, badRequest, "")
		in.post("/v1/groups", pad(1<<20+1)).ok(http.StatusRequestEntityTooLarge, nil)
	})
	t.Run("the largest upload passes", func(t *testing.T) {
		in, content := s.in(t).through(lb, token("alice")), picture(20<<20)
		up := in.slot("image/png", len(content))
		in.upload(up, content).ok(http.StatusNoContent, nil)
		if got := in.get(up.URL); got.Status != http.StatusOK || !bytes.Equal(got.Body, content) {
			t.Errorf("fetched: got %d and %d bytes, want what was uploaded", got.Status, len(got.Body))
		}
	})
	t.Run("a page's own origin is let in", func(t *testing.T) {
		header := http.Header{"Authorization": {"Bearer " + token("alice")}}
		for origin, want := range map[string]int{"http://" + lb: 101, "http://127.0.0.1": 403} {
			header.Set("Origin", origin)
			ws, response, err := websocket.DefaultDialer.Dial("ws://"+lb+"/v1/ws", header)
			if response == nil || response.StatusCode != want {
				t.Errorf("origin %s: got %v (%v), want %d", origin, response, err, want)
			}
			if err == nil {
				_ = ws.Close()
			}
		}
	})
	t.Run("refusals come through as they are", func(t *testing.T) {
		s.in(t).through(lb, "no-token").get("/v1/groups").refused(http.StatusUnauthorized, "unauthorized", "")
	})
	s.instances[1].kill()
	t.Run("an instance is gone, nobody notices", func(t *testing.T) {
		if got := s.in(t).reached(lb, 8); got["i2"] != 0 || got["i1"] < 3 || got["i3"] < 3 {
			t.Errorf("instances reached by 8 connections: got %v, want i1 and i3 by turns", got)
		}
		for n := range 8 {
			web.post("/v1/groups/g/messages", fields{"body": textBody(say(n))}).ok(http.StatusCreated, nil)
		}
	})
	s.instances[1].up()
	t.Run("it is back and gets its share", func(t *testing.T) {
		s.in(t).awaitReached(lb, s.instances[1])
	})
	t.Run("the access log tells no token", func(t *testing.T) {
		web.get("/v1/groups?access_token="+quiet).refused(http.StatusBadRequest, badRequest, "access_token")
		log, err := os.ReadFile(filepath.Join(nginx.Dir(), "access.log"))
		if err != nil || len(log) == 0 || strings.Contains(string(log), quiet) {
			t.Errorf("access log: got %v and %q, want lines without the query", err, log)
		}
	})
}

// TestNginxDuringDrain: requests of all kinds go on while each of the instances leaves and comes back.
func TestNginxDuringDrain(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3, env: map[string]string{"HEARTH_DRAIN_LB_DELAY": "300ms"}})
	lb := s.behindNginx().Addr()
	s.createGroup("group", "g", "alice")
	web, sent := s.through(lb, token("alice")), 0
	for _, i := range s.instances {
		begun := sent
		i.signal(syscall.SIGTERM)
		for i.running() == nil {
			sent++
			s.sendsThrough(web, fmt.Sprint("c", sent))
			web.get("/v1/groups/g").ok(http.StatusOK, nil)
			s.connectsThrough(lb)
		}
		if code := i.wait(); code != 0 {
			t.Errorf("exit code of %s: got %d, want 0", i.name, code)
		}
		t.Logf("%s left after %d rounds of requests", i.name, sent-begun)
		i.up()
		s.awaitReached(lb, i)
	}
	s.awaitPersisted(patience)
	if n := s.countRows(); n != sent {
		t.Errorf("rows: got %d, want %d, one for each message", n, sent)
	}
}

// sendsThrough posts a message. A 502 is repeated once, as the shipped file says that a client has to: the instance went
// while it had one half of the request.
func (s *stack) sendsThrough(web *caller, clientID string) {
	s.t.Helper()
	body := fields{"body": textBody(say(clientID)), "client_id": clientID}
	a := web.post("/v1/groups/g/messages", body)
	if a.Status == http.StatusBadGateway {
		s.t.Logf("%s: 502, repeated", clientID)
		a = web.post("/v1/groups/g/messages", body)
	}
	if a.Status != http.StatusCreated && a.Status != http.StatusOK {
		s.t.Fatalf("%s: got %d, want 201, or 200 for a repeated one; %s", a.what, a.Status, a.Body)
	}
}

// awaitReached waits until nginx sends somebody to an instance that has come back.
func (s *stack) awaitReached(lb string, i *instance) {
	s.t.Helper()
	await(s.t, patience, i.name+" is reached", func() (bool, any) {
		got := s.reached(lb, len(s.instances))
		return got[i.name] > 0, got
	})
}

// reached connects so often and counts the instances behind.
func (s *stack) reached(lb string, connects int) map[string]int {
	s.t.Helper()
	names := make(map[string]int)
	for range connects {
		names[s.connectsThrough(lb)]++
	}
	return names
}

// connectsThrough connects and tells where it got. Who comes in the very moment in which an instance closes is told so,
// and finds another.
func (s *stack) connectsThrough(lb string) (instance string) {
	s.t.Helper()
	for tries := 0; ; tries++ {
		b, first, err := dialBare("ws://"+lb+"/v1/ws", token("alice"), nil)
		if err == nil {
			_ = b.ws.Close()
			return first.Instance
		}
		if tries > 0 || first.Event != "goodbye" || first.Code != 4000 {
			s.t.Fatalf("connect: %v; %s", err, first.raw)
		}
		s.t.Logf("connect: %s", first.raw)
	}
}

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// cutLonger is how long a login that was cut off without a word may keep others out with policy reject.
const cutLonger = 36 * time.Second

// awaitFinal waits for the end of a connection that shall not come back: goodbye without a time to reconnect, and the
// same code.
func (c *client) awaitFinal(code int) {
	c.t.Helper()
	if bye := c.awaitEvent("goodbye"); bye.Code != code || bye.Reason == "" || bye.ReconnectAfterMS != 0 {
		c.t.Errorf("%s: goodbye: got %s, want code %d, a reason and no reconnect_after_ms", c.user, bye.raw, code)
	}
	c.awaitClose(code)
}

// lives fails unless the connection answers.
func (c *client) lives() {
	c.t.Helper()
	if err := c.try("ping", nil, nil); err != nil {
		c.t.Errorf("%s: ping: %v", c.user, err)
	}
}

// TestTenLogins: the eleventh ends the oldest, wherever it is.
func TestTenLogins(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	var logins []*client
	login := func() {
		n := len(logins)
		logins = append(logins, s.connectFrom(n%3, "ann", fmt.Sprint("device", n)))
	}
	bob := s.connect(0, "bob")
	for range 10 {
		login()
	}
	for n := range 4 {
		login() // on the instance after that of the oldest
		logins[n].awaitFinal(4502)
		for _, c := range logins[n+1:] {
			c.lives()
		}
	}
	logins[5].close()
	await(t, patience, "a login that ended is no longer counted", func() (bool, any) {
		got := bob.presence("ann")["ann"]
		return len(got.Devices) == 9 && !slices.Contains(got.Devices, "device5"), got
	})
	login()
	bob.lives()
	for n, c := range logins {
		if n > 3 && n != 5 {
			c.lives()
		}
	}
}

// TestReplace: a login ends the former one on the same class of devices.
func TestReplace(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3, env: map[string]string{"HEARTH_SESSION_POLICY": "replace"}})
	phone, web, bob := s.connectFrom(0, "ann", "ios"), s.connectFrom(1, "ann", "web"), s.connectFrom(0, "bob", "ios")
	for n := range 5 {
		former := phone
		phone = s.connectFrom((n+1)%3, "ann", "ios")
		former.awaitFinal(4502)
		phone.lives()
	}
	web.lives()
	bob.lives()
	if got := bob.presence("ann")["ann"]; !got.Online || len(got.Devices) != 2 {
		t.Errorf("ann: got %+v, want online on two devices", got)
	}
}

// secondLogin tries to connect and fails unless that is refused, before the upgrade, with already_online.
func (s *stack) secondLogin(n int, user string) {
	s.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + token(user)}, "Sec-Websocket-Protocol": {"hearth.v1"}}
	ws, response, err := websocket.DefaultDialer.Dial(s.instances[n].ws(), header)
	if err == nil {
		_ = ws.Close()
		s.t.Fatalf("a second login of %s was let in", user)
	}
	if response == nil {
		s.t.Fatal(err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{s.t, "second login of " + user, response.StatusCode, response.Header, content}
	a.refused(http.StatusConflict, "already_online", "")
	var p problem
	if a.ok(http.StatusConflict, &p); p.Retryable == nil || *p.Retryable {
		s.t.Errorf("second login: got %s, want retryable false", content)
	}
}

// awaitLogin waits until a login is let in, and tells how long that took.
func (s *stack) awaitLogin(within time.Duration, n int, user string) (b *bare, took time.Duration) {
	s.t.Helper()
	begun := time.Now()
	await(s.t, within, user+" is let in", func() (bool, any) {
		var err error
		b, _, err = dialBare(s.instances[n].ws(), token(user), nil)
		return err == nil, err
	})
	s.t.Cleanup(func() { _ = b.ws.Close() })
	return b, time.Since(begun)
}

// TestReject: a second login is refused as long as there is a first, on whatever instance.
func TestReject(t *testing.T) {
	t.Parallel()
	const soon = time.Second
	s := newStack(t, setup{instances: 2, env: map[string]string{
		"HEARTH_SESSION_POLICY": "reject", "HEARTH_WS_PING_INTERVAL": "2s", "HEARTH_WS_PONG_TIMEOUT": "2s",
	}})
	first := s.connect(0, "ann")
	for n := range s.instances {
		s.secondLogin(n, "ann")
	}
	s.connect(1, "bob")
	first.lives()
	first.close()

	b, _ := s.awaitLogin(soon, 1, "ann")
	for n := range 6 {
		s.secondLogin(n%2, "ann")
		cleanly := n%2 == 0
		b.leave(cleanly)
		if _, err := b.next(); err == nil {
			t.Fatal("the connection did not end")
		}
		var took time.Duration
		b, took = s.awaitLogin(soon, n%2, "ann")
		t.Logf("let in %v after the former connection ended (cleanly: %v)", took.Round(time.Millisecond), cleanly)
	}
	// The client does not read any more, so it answers no ping.
	_, took := s.awaitLogin(10*time.Second, 0, "ann")
	t.Logf("let in %v after the former connection fell silent", took.Round(time.Millisecond))
}

// TestRejectAfterAKill: the logins on an instance that was killed do not keep anybody out for long.
func TestRejectAfterAKill(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_SESSION_POLICY": "reject"}})
	s.connect(0, "ann")
	s.connect(0, "bob")
	s.instances[0].kill()
	begun := time.Now()
	s.instances[0].up()
	_, took := s.awaitLogin(cutLonger-time.Since(begun), 1, "ann")
	t.Logf("let in by another instance %v after the kill", took.Round(time.Millisecond))
	_, took = s.awaitLogin(max(time.Second, cutLonger-time.Since(begun)), 0, "bob")
	t.Logf("let in by the same one %v after that", took.Round(time.Millisecond))
}

// TestKick: an app server ends all connections of a user.
func TestKick(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	s.createGroup("group", "g", "ann", "bob")
	bob := s.connect(0, "bob")
	var ann []*client
	for n := range 6 {
		ann = append(ann, s.connect(n%3, "ann"))
	}
	s.user(0, "ann").delete("/v1/users/ann/connections").refused(http.StatusForbidden, "forbidden", "")
	s.user(0, "ann").delete("/v1/users/bob/connections").refused(http.StatusForbidden, "forbidden", "")
	for _, c := range ann {
		c.lives()
	}
	s.server(1).delete("/v1/users/ann/connections").ok(http.StatusNoContent, nil)
	for _, c := range ann {
		c.awaitFinal(4503)
	}
	bob.lives()
	bob.awaitPresence(patience, "ann", false)
	s.server(1).delete("/v1/users/ann/connections").ok(http.StatusNoContent, nil) // nobody there
	s.server(1).delete("/v1/users/a%20b/connections").refused(http.StatusBadRequest, badRequest, "user")
	s.server(1).get("/v1/users/ann/connections").refused(http.StatusMethodNotAllowed, badRequest, "")
	again := s.connect(2, "ann") // it was an end, not a ban
	again.send("g", say("back"))
	bob.awaitPushes("g", 1)
	again.lives()
}

// TestRefresh: a newer token for the same user keeps the connection.
func TestRefresh(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "ann")
	expires := time.Now().Add(5 * time.Second).Truncate(time.Second)
	connect := func(t *testing.T) *client {
		t.Helper()
		c, err := dial(t, s.instances[0].ws(), tokenUntil("ann", expires), "ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		if e := c.awaitEvent("token_expiring"); e.ExpiresMS != expires.UnixMilli() {
			t.Errorf("token_expiring: got %s, want expires_ms %d", e.raw, expires.UnixMilli())
		}
		return c
	}
	kept, refused := connect(t), connect(t)
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	var got struct {
		ExpiresMS int64 `json:"expires_ms"`
	}
	kept.do("refresh", fields{"token": tokenUntil("ann", later)}, &got)
	if got.ExpiresMS != later.UnixMilli() {
		t.Errorf("refresh: expires_ms: got %d, want %d", got.ExpiresMS, later.UnixMilli())
	}
	for name, bad := range map[string]string{
		"garbage": "garbage", "another user's": token("bob"), "expired": tokenUntil("ann", time.Now().Add(-time.Minute)),
		"an API key": apiKey,
	} {
		if err := refused.try("refresh", fields{"token": bad}, nil); codeOf(err) != "unauthorized" {
			t.Errorf("refresh with a token that is %s: got %v, want unauthorized", name, err)
		}
	}
	refused.refused(t, "no token", `"op":"refresh"`, badRequest, "token")
	refused.refused(t, "token a number", `"op":"refresh","token":5`, badRequest, "token")
	refused.send("g", say("it stays until its own token ends"))

	if bye := refused.awaitEvent("goodbye"); bye.Code != 4002 || bye.ReconnectAfterMS <= 0 {
		t.Errorf("goodbye: got %s, want code 4002 and reconnect_after_ms", bye.raw)
	}
	refused.awaitClose(4002)
	if early := time.Until(expires); early > 0 {
		t.Errorf("closed %v before the token ended", early)
	}
	kept.lives() // beyond the end of its first token
	for _, e := range kept.seen() {
		if e.Event == "goodbye" {
			t.Errorf("the one with the newer token: got %s", e.raw)
		}
	}

	t.Run("again and again", func(t *testing.T) {
		soon := time.Now().Add(3 * time.Second).Truncate(time.Second)
		c, err := dial(t, s.instances[0].ws(), tokenUntil("ann", soon), "ann", nil)
		if err != nil {
			t.Fatal(err)
		}
		end := soon.Add(2 * time.Second)
		c.do("refresh", fields{"token": tokenUntil("ann", end)}, nil)
		c.awaitClose(4002)
		if early := time.Until(end); early > 0 {
			t.Errorf("closed %v before the second token ended", early)
		}
	})
}

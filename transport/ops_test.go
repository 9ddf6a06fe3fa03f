package transport

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/auth"
)

// dialWith connects a user on a device of this class.
func (s *piped) dialWith(t *testing.T, user, device string) *client {
	t.Helper()
	token, err := auth.Sign(hmacSecret, auth.Claims{User: user, Device: device, Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	c := s.dialToken(t, token)
	c.startReading()
	return c.ready()
}

func TestSignals(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, again, bob, cy := s.dial(t, "ann").ready(), s.dial(t, "ann").ready(), s.dial(t, "bob").ready(), s.dial(t, "cy").ready()
		ann.ok(`{"id":1,"op":"signal","group":"g","kind":"typing","data":{ "a" : [1, 2] }}`, nil)
		for _, c := range []*client{again, bob} {
			require.Equal(t, `{"event":"signal","group":"g","from":"ann","kind":"typing","data":{"a":[1,2]},"time_ms":1}`, c.next().raw)
			c.alive()
		}
		ann.alive()
		cy.alive()
		ann.ok(`{"id":2,"op":"signal","group":"g","kind":"typing"}`, nil)
		s.b.mu.Lock()
		last := s.b.signals[1]
		s.b.mu.Unlock()
		require.Empty(t, last.Data)
		require.False(t, last.Open)

		s.b.add(domain.Direct, "dm:ann:bob", "ann", "bob")
		ann.ok(`{"id":3,"op":"signal","to":"bob","kind":"typing"}`, nil)
		s.b.mu.Lock()
		last = s.b.signals[2]
		s.b.mu.Unlock()
		require.Equal(t, "dm:ann:bob", last.Group)
		require.True(t, last.Open)
	})
}

func TestSignalsThatAreRefused(t *testing.T) {
	t.Parallel()
	long := make([]byte, domain.MaxSignalData)
	for i := range long {
		long[i] = 'x'
	}
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		for _, row := range []struct {
			fields string
			code   domain.Code
			names  string
		}{
			{`"group":"g"`, domain.CodeBadRequest, "kind: "},
			{`"group":"g","kind":""`, domain.CodeBadRequest, "kind: "},
			{`"group":"g","kind":"` + string(long[:65]) + `"`, domain.CodeBadRequest, "kind: "},
			{`"group":"g","kind":7`, domain.CodeBadRequest, "kind: "},
			{`"group":"g","kind":"a","data":"` + string(long) + `"`, domain.CodeTooLarge, "data: "},
			{`"kind":"a"`, domain.CodeBadRequest, "group: is required, or to"},
			{`"group":"g","to":"bob","kind":"a"`, domain.CodeBadRequest, "to: goes without group"},
			{`"to":"ann","kind":"a"`, domain.CodeBadRequest, "to: is yourself"},
			{`"to":"system","kind":"a"`, domain.CodeBadRequest, "to: "},
			{`"group":"a b","kind":"a"`, domain.CodeBadRequest, "group: "},
			{`"group":"g","kind":"a","echo":false`, domain.CodeBadRequest, "echo: unknown field"},
			{`"to":"zoe","kind":"a"`, domain.CodeStrangerLimit, ""},
			{`"group":"nowhere","kind":"a"`, domain.CodeNotFound, ""},
		} {
			o := c.refused(`{"id":1,"op":"signal",`+row.fields+`}`, row.code)
			require.Contains(t, o.Error.Message, row.names, o.raw)
		}
		s.dial(t, "cy").ready().refused(`{"id":1,"op":"signal","group":"g","kind":"a"}`, domain.CodeNotMember)
		require.Empty(t, s.b.signals)
		s.b.fail(errDown)
		require.True(t, c.refused(`{"id":1,"op":"signal","group":"g","kind":"a"}`, domain.CodeUnavailable).Error.Retryable)
	})
}

func TestPresence(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialWith(t, "ann", "web")
		s.dialWith(t, "bob", "ios")
		s.dialWith(t, "bob", "android")
		s.dialWith(t, "bob", "ios")
		s.dial(t, "dee").ready()
		s.b.change(func(b *backend) { b.lastSeen["cy"] = 1_700_000_000_000 })
		require.Equal(t, `{"id":1,"ok":{"users":{"ann":{"online":true,"devices":["web"]},"bob":{"online":true,"devices":["android","ios"]},`+
			`"cy":{"online":false,"devices":[],"last_seen_ms":1700000000000},"dee":{"online":true,"devices":[]},"zoe":{"online":false,"devices":[]}}}}`,
			c.ask(`{"id":1,"op":"presence","users":["zoe","dee","cy","bob","ann"]}`).raw)
		for request, code := range map[string]domain.Code{
			`{"id":1,"op":"presence"}`:                                         domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":[]}`:                              domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":"ann"}`:                           domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":["ann","a b"]}`:                   domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":["system"]}`:                      domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":` + manyUsers(201) + `}`:          domain.CodeTooLarge,
			`{"id":1,"op":"presence","users":["ann"],"group":"g"}`:             domain.CodeBadRequest,
			`{"id":1,"op":"presence","Users":["ann"]}`:                         domain.CodeBadRequest,
			`{"id":1,"op":"presence","users":["ann"],"users":["bob"],"id2":1}`: domain.CodeBadRequest,
		} {
			c.refused(request, code)
		}
		c.ok(`{"id":1,"op":"presence","users":`+manyUsers(200)+`}`, nil)
		s.b.change(func(b *backend) { b.before = failing("Presence") })
		c.refused(`{"id":1,"op":"presence","users":["ann"]}`, domain.CodeUnavailable)
	})
}

func manyUsers(n int) string {
	users := "["
	for i := range n {
		if i > 0 {
			users += ","
		}
		users += `"u` + string(rune('a'+i%26)) + string(rune('a'+i/26)) + `"`
	}
	return users + "]"
}

func TestSendToAUserOpensTheConversation(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		ann.write(`{"id":1,"op":"send","to":"bob","body":[{"type":"text","text":"hi"}]}`)
		events := map[string]object{}
		for range 3 { // in any order: the reply, the event, the message
			o := ann.next()
			events[o.Event] = o
		}
		require.Contains(t, events[""].raw, `"group":"dm:ann:bob","seq":1,`)
		require.Contains(t, events[""].raw, `"peer_online":true`)
		bob.changed("dm:ann:bob", domain.ChangeCreated)
		require.Equal(t, "dm:ann:bob", bob.message(1).Group)
		bob.alive()
		ann.alive()
		require.Equal(t, []string{"dm:ann:bob", "g"}, s.ch.subscribed())

		require.NoError(t, bob.ws.Close())
		synctest.Wait()
		require.Equal(t, `{"event":"presence","user":"bob","online":false}`, ann.next().raw)
		var got struct {
			Seq        int64 `json:"seq"`
			PeerOnline *bool `json:"peer_online"`
		}
		ann.write(sendOf(2, "dm:ann:bob", "hi", `,"echo":false`)) // and by its id
		require.NoError(t, json.Unmarshal(ann.next().OK, &got))
		require.Equal(t, int64(2), got.Seq)
		require.False(t, *got.PeerOnline)

		got.PeerOnline = nil
		ann.write(sendOf(3, "g", "hi", `,"echo":false`))
		require.NoError(t, json.Unmarshal(ann.next().OK, &got))
		require.Nil(t, got.PeerOnline, "in groups there is no other side")
	})
}

// Whether the other side is there is asked for while the message is on its way, and not waited for long.
func TestSendToAUserDoesNotDependOnHisPresence(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Direct, "dm:ann:bob", "ann", "bob")
		c := s.dial(t, "ann").ready()
		const send = `,"echo":false`
		s.b.change(func(b *backend) { b.before = failing("Presence") })
		require.Contains(t, c.ask(sendOf(1, "dm:ann:bob", "a", send)).raw, `"peer_online":false`)
		goOn := s.b.stall("Presence")
		defer goOn()
		started := time.Now()
		require.Contains(t, c.ask(sendOf(2, "dm:ann:bob", "a", send)).raw, `"peer_online":false`)
		require.LessOrEqual(t, time.Since(started), 300*time.Millisecond)
		c.refused(sendOf(3, "dm:bob:cy", "a", ""), domain.CodeNotFound)
	})
}

func TestReadIsToldToTheUsersOtherConnectionsAndTheMembers(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		id := s.open()[0].id
		again, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.b.accept("g", 3)
		ann.ok(`{"id":1,"op":"read","group":"g","seq":2}`, nil)
		for _, c := range []*client{again, bob} {
			require.Equal(t, `{"event":"read","group":"g","user":"ann","seq":2}`, c.next().raw)
			c.alive() // once
		}
		ann.alive()
		require.Equal(t, []telling{{user: "ann", except: id, event: `{"event":"read","group":"g","user":"ann","seq":2}`}}, s.b.tellings())
		ann.ok(`{"id":2,"op":"read","group":"g","seq":1}`, nil) // it has not moved
		bob.alive()
		require.Len(t, s.b.tellings(), 1)
	})
}

func TestWhoComesAndGoesIsToldToHisDirectConversations(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Direct, "dm:ann:bob", "ann", "bob")
		s.b.add(domain.Direct, "dm:ann:cy", "ann", "cy")
		bob, dee := s.dial(t, "bob").ready(), s.dial(t, "dee").ready()
		synctest.Wait()
		s.b.change(func(b *backend) { b.told = nil })
		first := s.dial(t, "ann").ready()
		require.Equal(t, `{"event":"presence","user":"ann","online":true}`, bob.next().raw)
		second := s.dial(t, "ann").ready()
		require.NoError(t, first.ws.Close())
		synctest.Wait()
		bob.alive() // she is still there
		require.NoError(t, second.ws.Close())
		synctest.Wait()
		require.Equal(t, `{"event":"presence","user":"ann","online":false}`, bob.next().raw)
		bob.alive()
		dee.alive()
		told := s.b.tellings()
		require.Len(t, told, 2)
		for _, call := range told {
			require.ElementsMatch(t, []string{"dm:ann:bob", "dm:ann:cy"}, call.groups, "not g")
			require.Equal(t, domain.ExceptUser("ann"), call.except)
		}
	})
}

func TestSessionsOfTheUser(t *testing.T) {
	t.Parallel()
	t.Run("replaced by one of the same device", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(o *options) { o.policy = domain.SessionReplace }, func(t *testing.T, s *piped) {
			web, ios := s.dialWith(t, "ann", "web"), s.dialWith(t, "ann", "ios")
			again := s.dialWith(t, "ann", "web")
			web.goodbye(domain.CloseReplaced)
			ios.alive()
			again.alive()
			synctest.Wait()
			require.Len(t, s.b.entered(), 2)
		})
	})
	t.Run("one that has ended makes room", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(o *options) { o.policy = domain.SessionReject }, func(t *testing.T, s *piped) {
			for range 3 {
				c := s.dial(t, "ann").ready()
				require.Len(t, s.b.entered(), 1)
				require.NoError(t, c.ws.Close())
				synctest.Wait()
				require.Empty(t, s.b.entered())
			}
		})
	})
	t.Run("a drained instance has none", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			s.dial(t, "ann").ready()
			<-s.drain()
			s.turnedAway(t, "bob", http.StatusServiceUnavailable)
			synctest.Wait()
			require.Empty(t, s.b.entered())
			require.Empty(t, s.ch.listening())
		})
	})
	t.Run("one that cannot be taken out is logged", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			s.b.change(func(b *backend) { b.before = failing("Leave") })
			require.NoError(t, c.ws.Close())
			synctest.Wait()
			require.Empty(t, s.open())
			require.Contains(t, s.log.String(), "session not taken out")
			require.InDelta(t, 0, testutil.ToFloat64(s.metrics.users), 0)
		})
	})
}

// A login that was replaced has no session any more: telling all sessions again must not make it one.
func TestALeavingConnectionHasNoSession(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.dial(t, "ann").ready()
		s.dial(t, "ann").ready()
		require.Len(t, s.Hub().Sessions(), 2)
		var conns []string
		for _, session := range s.Hub().Sessions() {
			conns = append(conns, session.Conn)
		}
		s.b.note("ann", domain.Note{Kind: domain.NoteClose, Conn: conns[0], Code: domain.CloseReplaced, Reason: "replaced"})
		synctest.Wait()
		require.Len(t, s.Hub().Sessions(), 1)
		require.Equal(t, conns[1], s.Hub().Sessions()[0].Conn)
		time.Sleep(leaveGrace + time.Second)
		require.Len(t, s.open(), 1)
	})
}

package redisrepo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestAppendGivesDenseSeqsFrom1(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := []string{"a", "b", "dm:u1:u2"}
		s := e.sender(t, e.recovery(group("a", domain.Private, "u1", "u2"), group("b", domain.Room), group("dm:u1:u2", domain.Direct, "u1", "u2")), AppendConfig{})
		var answers [3][]<-chan result
		for i := range 150 {
			d := domain.Draft{Group: groups[i%3], From: fmt.Sprint("u", 1+i%2), Body: text(fmt.Sprint(i))}
			answers[i%3] = append(answers[i%3], s.post(d))
		}
		for g, group := range groups {
			var last int64
			for i, answer := range answers[g] {
				r := await(t, answer)
				require.NoError(t, r.err)
				require.Equal(t, domain.Accepted{Group: group, Gen: 1, Seq: int64(i + 1), TimeMS: r.TimeMS}, r.Accepted)
				require.GreaterOrEqual(t, r.TimeMS, last)
				last = r.TimeMS
			}
			now, err := e.store.NowMS(t.Context())
			require.NoError(t, err)
			require.InDelta(t, now, last, float64(patience.Milliseconds()))
		}
	})
}

func TestTimeNeverFallsBehindTheLastMessage(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		future := time.Now().Add(time.Hour).UnixMilli()
		r.seeds["a"] = domain.Seed{Start: 7, LastMS: future}
		s := e.sender(t, r, AppendConfig{})
		for seq := int64(8); seq < 10; seq++ {
			got := s.must(t, domain.Draft{Group: "a", From: "u"})
			require.Equal(t, domain.Accepted{Group: "a", Gen: 1, Seq: seq, TimeMS: future, PersistedSeq: 7}, got)
		}
	})
}

// What is stored, logged and published is one text: the protocol's message, also with numbers that Lua cannot print.
func TestAppendWritesTheProtocolsMessage(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const start = 1<<53 - 10
		full := domain.Draft{
			Group: "a", From: "u1", Operator: "key1", ClientID: "c1", Mentions: []string{"u2", "u3"}, ReplyTo: start,
			Body: []byte(`[{"type":"text","text":"a \"quote\", a \\n, 你好 \u2028"},{"type":"custom","data":{"x":[1,2.5e10,null]}}]`),
		}
		drafts := []domain.Draft{full, {Group: "a", From: "u1", Body: text("plain"), Mute: "conn7"}}
		r := e.recovery(group("a", domain.Private, "u1"))
		r.seeds["a"] = domain.Seed{Start: start}
		heard := e.subscribe(t, e.store, "a")
		s := e.sender(t, r, AppendConfig{})
		for i, d := range drafts {
			got := s.must(t, d)
			require.Equal(t, int64(start+1+i), got.Seq)
			want := domain.Message{
				Group: "a", Seq: got.Seq, TimeMS: got.TimeMS, Gen: 1, GroupType: domain.Private,
				Header: domain.Header{From: d.From, ClientID: d.ClientID, Mentions: d.Mentions, ReplyTo: d.ReplyTo, Operator: d.Operator},
				Body:   d.Body, Hash: domain.ContentHash(d.Body, d.Mentions, d.ReplyTo),
			}

			recent, err := e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: got.Seq, To: got.Seq, Limit: 5}})
			require.NoError(t, err)
			record := want.Record()
			record.Mute = d.Mute
			require.Equal(t, []domain.Record{record}, recent[0])
			require.NotContains(t, string(record.AppendJSON(nil)), "conn7")

			entry := e.logged(t, "a")[i]
			require.Equal(t, want, entry.Message)

			until(t, "push", func() bool { return len(heard.pushed()) == i+1 })
			push := heard.pushed()[i]
			event := `{"event":"message",` + string(want.Record().AppendJSON(nil))[1:]
			require.Equal(t, event, string(push.Event))
			require.True(t, json.Valid(push.Event))
			require.Equal(t, domain.Push{Group: "a", Gen: 1, Seq: got.Seq, Mute: d.Mute, Event: push.Event}, push)
		}
	})
}

func TestRepeatedSendGetsTheFirstResult(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room), group("b", domain.Room)), AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u1", ClientID: "c", Body: text("x"), Mentions: []string{"u2"}}
		first := s.must(t, draft)
		s.must(t, domain.Draft{Group: "a", From: "u2"})
		heads := e.head(t, "u1", "a")

		again := s.must(t, draft)
		want := first
		want.Duplicate = true
		require.Equal(t, want, again)

		for name, other := range map[string]domain.Draft{
			"body":     {Body: text("y"), Mentions: []string{"u2"}},
			"mentions": {Body: text("x")},
			"reply_to": {Body: text("x"), Mentions: []string{"u2"}, ReplyTo: 1},
		} {
			other.Group, other.From, other.ClientID = "a", "u1", "c"
			err := s.refused(t, domain.CodeConflict, other)
			require.Equal(t, "client_id", err.Field, name)
		}
		require.Equal(t, heads, e.head(t, "u1", "a"), "a repeat moves nothing")
		require.Len(t, e.logged(t, "a"), 2)

		draft.From = "u2"
		require.False(t, s.must(t, draft).Duplicate, "another sender's id")
		draft.Group = "b"
		require.False(t, s.must(t, draft).Duplicate, "another group's id")
	})
}

func TestRepeatedSendIsToldWhatIsPersisted(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u1", ClientID: "c"}
		first := s.must(t, draft)
		require.Zero(t, first.PersistedSeq)
		e.commit(t, "a", e.logged(t, "a"))
		require.Equal(t, first.Seq, s.must(t, draft).PersistedSeq)
	})
}

// What MySQL remembers of a former generation's sends comes with the seed.
func TestRepeatOfASendOfAFormerGenerationGetsItsFirstResult(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		s := e.sender(t, r, AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("x")}
		first := s.must(t, draft)
		remembered := domain.RecentSend{
			Dedupe: domain.DedupeID("a", "u", "c"), Seq: first.Seq, TimeMS: first.TimeMS, Hash: domain.ContentHash(draft.Body, nil, 0),
		}
		forgotten := remembered
		forgotten.Dedupe, forgotten.TimeMS = domain.DedupeID("a", "u", "old"), first.TimeMS-domain.DedupeWindow.Milliseconds()-1
		r.mu.Lock()
		r.seeds["a"] = domain.Seed{Start: 1000, LastMS: first.TimeMS, Recent: []domain.RecentSend{remembered, forgotten}}
		r.mu.Unlock()
		e.raise(t, 2)
		s.must(t, domain.Draft{Group: "a", From: "u"})
		again := s.must(t, draft)
		require.Equal(t, []any{first.Seq, first.TimeMS, true}, []any{again.Seq, again.TimeMS, again.Duplicate})
		draft.Body = text("y")
		s.refused(t, domain.CodeConflict, draft)
		draft.ClientID = "old"
		require.Equal(t, int64(1002), s.must(t, draft).Seq)
	})
}

func TestSendsWithoutClientIDAreDifferentMessages(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		for seq := range int64(3) {
			require.Equal(t, seq+1, s.must(t, domain.Draft{Group: "a", From: "u"}).Seq)
		}
	})
}

func TestDedupeEntriesEndAfterTheirTime(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	draft := domain.Draft{Group: "a", From: "u", ClientID: "c"}
	s.must(t, draft)
	e.mini.SetTime(now.Add(dedupeTTL - time.Millisecond))
	require.True(t, s.must(t, draft).Duplicate)
	e.mini.SetTime(now.Add(dedupeTTL + time.Millisecond))
	require.Equal(t, int64(2), s.must(t, draft).Seq)
}

func TestOneClientIDSentByTwoInstancesIsStoredOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		senders := []*sender{e.sender(t, r, AppendConfig{}), newSender(t, e.open(t, e.addr), r, AppendConfig{})}
		heard := e.subscribe(t, e.store, "a")
		var answers [20]<-chan result
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = senders[i%2].post(domain.Draft{Group: "a", From: "u", ClientID: "c"}) })
		}
		wg.Wait()
		firsts := 0
		for _, answer := range answers {
			got := await(t, answer)
			require.NoError(t, got.err)
			require.Equal(t, int64(1), got.Seq)
			if !got.Duplicate {
				firsts++
			}
		}
		require.Equal(t, 1, firsts)
		require.Len(t, e.logged(t, "a"), 1)
		require.Equal(t, int64(2), senders[0].must(t, domain.Draft{Group: "a", From: "u"}).Seq)
		until(t, "the second message's push", func() bool {
			pushed := heard.pushed()
			return len(pushed) > 0 && pushed[len(pushed)-1].Seq == 2
		})
		require.Len(t, heard.pushed(), 2, "one push a message")
	})
}

func TestWhoMaySend(t *testing.T) {
	future := time.Now().Add(time.Hour).UnixMilli()
	past := time.Now().Add(-time.Hour).UnixMilli()
	muted := func(until int64) domain.Membership {
		return domain.Membership{User: "u", Role: domain.Member, MuteUntilMS: until}
	}
	gone := func(until int64) domain.Membership { return domain.Membership{User: "u", MuteUntilMS: until} }
	as := func(role domain.Role) []domain.Membership { return []domain.Membership{{User: "u", Role: role}} }
	cases := map[string]struct {
		group    domain.Group
		members  []domain.Membership
		from     string
		operator string
		replyTo  int64
		want     domain.Code
	}{
		"member":                         {group: domain.Group{Type: domain.Private}, members: as(domain.Member)},
		"outsider of a group":            {group: domain.Group{Type: domain.Private}, want: domain.CodeNotMember},
		"outsider of a direct":           {group: domain.Group{Type: domain.Direct}, want: domain.CodeNotMember},
		"outsider of a room":             {group: domain.Group{Type: domain.Room}},
		"app server as an outsider":      {group: domain.Group{Type: domain.Private}, operator: "key"},
		"app server as system":           {group: domain.Group{Type: domain.Private}, from: domain.SystemUser, operator: "key"},
		"blocked in a group":             {group: domain.Group{Type: domain.Private}, members: as(domain.BlockedIn), want: domain.CodeForbidden},
		"blocked in a room":              {group: domain.Group{Type: domain.Room}, members: as(domain.BlockedIn), want: domain.CodeForbidden},
		"app server as someone blocked":  {group: domain.Group{Type: domain.Room}, members: as(domain.BlockedIn), operator: "key"},
		"muted":                          {group: domain.Group{Type: domain.Private}, members: []domain.Membership{muted(future)}, want: domain.CodeMuted},
		"muted for ever":                 {group: domain.Group{Type: domain.Room}, members: []domain.Membership{muted(domain.MuteForever)}, want: domain.CodeMuted},
		"muted until a moment ago":       {group: domain.Group{Type: domain.Private}, members: []domain.Membership{muted(past)}},
		"muted outsider of a room":       {group: domain.Group{Type: domain.Room}, members: []domain.Membership{gone(future)}, want: domain.CodeMuted},
		"outsider muted until just now":  {group: domain.Group{Type: domain.Room}, members: []domain.Membership{gone(past)}},
		"muted outsider of a group":      {group: domain.Group{Type: domain.Private}, members: []domain.Membership{gone(future)}, want: domain.CodeNotMember},
		"outsider once muted, all muted": {group: domain.Group{Type: domain.Room, Muted: true}, members: []domain.Membership{gone(past)}, want: domain.CodeMuted},
		"muted owner":                    {group: domain.Group{Type: domain.Room}, members: []domain.Membership{{User: "u", Role: domain.Owner, MuteUntilMS: future}}, want: domain.CodeMuted},
		"app server as someone muted":    {group: domain.Group{Type: domain.Private}, members: []domain.Membership{muted(future)}, operator: "key"},
		"member of a muted group":        {group: domain.Group{Type: domain.Private, Muted: true}, members: as(domain.Member), want: domain.CodeMuted},
		"outsider of a muted room":       {group: domain.Group{Type: domain.Room, Muted: true}, want: domain.CodeMuted},
		"admin of a muted group":         {group: domain.Group{Type: domain.Private, Muted: true}, members: as(domain.Admin)},
		"owner of a muted group":         {group: domain.Group{Type: domain.Private, Muted: true}, members: as(domain.Owner)},
		"app server in a muted group":    {group: domain.Group{Type: domain.Private, Muted: true}, operator: "key"},
		"owner of a dismissed group":     {group: domain.Group{Type: domain.Private, Dismissed: true}, members: as(domain.Owner), want: domain.CodeGone},
		"app server, dismissed":          {group: domain.Group{Type: domain.Room, Dismissed: true, Muted: true}, operator: "key", want: domain.CodeGone},
		"reply to the last message":      {group: domain.Group{Type: domain.Room}, replyTo: 5},
		"reply to a message to come":     {group: domain.Group{Type: domain.Room}, replyTo: 6, want: domain.CodeBadRequest},
		"app server replies to the next": {group: domain.Group{Type: domain.Room}, operator: "key", replyTo: 6, want: domain.CodeBadRequest},
	}
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery()
		s := e.sender(t, r, AppendConfig{UserRate: 1, UserBurst: 1, GroupRate: 1})
		n := 0
		for name, c := range cases {
			n++
			id := fmt.Sprint("case", n)
			c.group.ID, c.group.Version = id, 1
			r.mu.Lock()
			r.groups[id] = &domain.GroupSnapshot{Group: c.group, Members: c.members}
			r.seeds[id] = domain.Seed{Start: 5}
			r.mu.Unlock()
			d := domain.Draft{Group: id, From: "u", Operator: c.operator, ReplyTo: c.replyTo, ClientID: "c"}
			if c.from != "" {
				d.From = c.from
			}
			// Each sender is new to the rates of his partition and of the instance, so that only one case at a time spends it.
			keys := []string{userRateKey(e.cfg.Partitions.Of(id), "u")}
			require.NoError(t, e.store.rdb.Del(t.Context(), keys...).Err())
			s.users = newUserRates(1, 1)
			if c.want == "" {
				require.Equal(t, int64(6), s.must(t, d).Seq, name)
				continue
			}
			err := s.refused(t, c.want, d)
			if c.replyTo > 0 {
				require.Equal(t, "reply_to", err.Field, name)
			}
			p := e.cfg.Partitions.Of(id)
			left, lerr := e.store.rdb.Exists(t.Context(), recentKey(p, 1, id), groupRateKey(p, id), userRateKey(p, "u"),
				readKey(p, 1, id), dedupeKey(p, 1, domain.DedupeID(id, "u", "c"))).Result()
			require.NoError(t, lerr)
			require.Zero(t, left, "%s: keys of a refused send", name)
		}
		for p := range testPartitions {
			accepted, err := e.store.rdb.XLen(t.Context(), logKey(p, 1)).Result()
			require.NoError(t, err)
			n -= int(accepted)
		}
		refused := 0
		for _, c := range cases {
			if c.want != "" {
				refused++
			}
		}
		require.Equal(t, refused, n, "only accepted sends are logged")
	})
}

func TestSendMovesItsUsersReadMark(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u1"})
		s.must(t, domain.Draft{Group: "a", From: "u2"})
		s.must(t, domain.Draft{Group: "a", From: "u1", Operator: "key"})
		require.Equal(t, int64(1), e.head(t, "u1", "a").ReadSeq, "an app server's send does not")
		require.Equal(t, int64(2), e.head(t, "u2", "a").ReadSeq)
	})
}

func TestFullBacklogRefusesUntilCommitted(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := groupsIn(3, 2)
		s := e.sender(t, e.recovery(group(groups[0], domain.Room), group(groups[1], domain.Room)), AppendConfig{BacklogLimit: 3})
		first := domain.Draft{Group: groups[0], From: "u", ClientID: "first"}
		s.must(t, first)
		answers := []<-chan result{}
		for i := range 4 { // together: the limit holds within a call, too
			answers = append(answers, s.post(domain.Draft{Group: groups[i%2], From: "u"}))
		}
		var accepted int
		for _, answer := range answers {
			r := await(t, answer)
			if r.err == nil {
				accepted++
				continue
			}
			err := domain.AsError(r.err)
			require.Equal(t, domain.CodeOverloaded, err.Code)
			require.Positive(t, err.RetryAfter)
		}
		require.Equal(t, 2, accepted)
		require.True(t, s.must(t, first).Duplicate, "what is stored is not called overloaded: that would mean it is not")

		e.commit(t, groups[0], e.logged(t, groups[0])[:1])
		s.must(t, domain.Draft{Group: groups[1], From: "u"})
		s.refused(t, domain.CodeOverloaded, domain.Draft{Group: groups[1], From: "u"})
	})
}

// The embedded server does not tell what a log takes: there the number of entries rules alone.
func TestLogThatTakesTooMuchMemoryRefusesUntilCommitted(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const limit, body = 1 << 20, 10_000
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{BacklogBytes: limit, MessageBytes: 12 << 10})
		large := text(strings.Repeat("x", body))
		first := domain.Draft{Group: "a", From: "u", ClientID: "first", Body: large}
		s.must(t, first)
		accepted := 1
		for ; accepted <= 2*limit/body; accepted++ {
			got := await(t, s.post(domain.Draft{Group: "a", From: "u", Body: large}))
			if got.err == nil {
				continue
			}
			err := domain.AsError(got.err)
			require.Equal(t, domain.CodeOverloaded, err.Code)
			require.Positive(t, err.RetryAfter)
			break
		}
		if e.mini != nil {
			require.Greater(t, accepted, 2*limit/body, "no limit")
			return
		}
		require.InDelta(t, limit, accepted*body, limit/4)
		require.Len(t, e.logged(t, "a"), accepted)
		require.True(t, s.must(t, first).Duplicate)
		e.commit(t, "a", e.logged(t, "a")[:accepted/2])
		s.must(t, domain.Draft{Group: "a", From: "u", Body: large})
	})
}

// A Redis without memory refuses, has written no half of a send, and goes on once the persister made room.
func TestFullRedisRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	heard := e.subscribe(t, e.store, "a")
	r := e.recovery(group("a", domain.Room))
	s := e.sender(t, r, AppendConfig{UserRate: 1000, UserBurst: 1000, GroupRate: 1000})
	var accepted int64
	draft := func() domain.Draft {
		return domain.Draft{Group: "a", From: "u", ClientID: fmt.Sprint("c", accepted), Body: text(strings.Repeat("x", 10_000))}
	}
	s.must(t, draft())
	accepted++
	used := e.usedMemory(t)
	e.configSet(t, "maxmemory", fmt.Sprint(used+2<<20))
	var full *domain.Error
	for full == nil {
		got := await(t, s.post(draft()))
		if got.err != nil {
			full = domain.AsError(got.err)
			break
		}
		accepted++
		require.Equal(t, accepted, got.Seq)
		require.Less(t, accepted, int64(10_000))
	}
	require.Equal(t, domain.CodeOverloaded, full.Code)
	require.Positive(t, full.RetryAfter)
	e.configSet(t, "maxmemory", "1") // the server's own buffers come and go
	s.refused(t, domain.CodeOverloaded, domain.Draft{Group: "a", From: "v"})
	s.refused(t, domain.CodeOverloaded, domain.Draft{Group: ab, From: "ann", Open: true})
	require.Empty(t, r.opened())

	head := e.head(t, "u", "a")
	require.Equal(t, []int64{accepted, accepted}, []int64{head.MaxSeq, head.ReadSeq})
	entries := e.logged(t, "a")
	require.Len(t, entries, int(accepted))
	recent, err := e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: 1, To: accepted + 5, Limit: 100_000}})
	require.NoError(t, err)
	require.Len(t, recent[0], int(accepted))
	scores, _, err := e.scores(t)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1}, scores)
	until(t, "all pushes", func() bool { return len(heard.pushed()) >= int(accepted) })
	require.Len(t, heard.pushed(), int(accepted))

	e.commit(t, "a", entries) // also when there is no memory
	require.Empty(t, e.logged(t, "a"))
	require.Equal(t, accepted, e.head(t, "u", "a").PersistedSeq)
	e.configSet(t, "maxmemory", fmt.Sprint(used+2<<20)) // now the log's half of it is free
	until(t, "accepted again", func() bool { return await(t, s.post(draft())).err == nil })
	require.Equal(t, accepted+1, e.head(t, "u", "a").MaxSeq)
}

func (e *env) usedMemory(t *testing.T) (bytes int64) {
	t.Helper()
	info, err := e.store.rdb.Info(t.Context(), "memory").Result()
	require.NoError(t, err)
	_, rest, ok := strings.Cut(info, "used_memory:")
	require.True(t, ok)
	_, err = fmt.Sscan(rest, &bytes)
	require.NoError(t, err)
	return bytes
}

// A Redis that was full when it ended comes back full: the new generation must get in, or nothing ever leaves.
func TestGenerationIsSetWithoutMemory(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	e.configSet(t, "maxmemory", "1")
	e.raiseRedis(t, 3, 2)
	older, err := e.store.OlderGenerations(t.Context(), 3, 2)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, older)
	require.NoError(t, e.store.ForgetGeneration(t.Context(), 3, 1))
}

func TestServerThatForgotItsScriptsGetsThemAgain(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		s := e.sender(t, r, AppendConfig{})
		for seq := range int64(3) {
			require.NoError(t, e.store.rdb.ScriptFlush(t.Context()).Err())
			require.Equal(t, seq+1, s.must(t, domain.Draft{Group: "a", From: "u"}).Seq)
		}
		require.NotContains(t, r.made(), "renew 1", "it means nothing else")
	})
}

// Each goroutine is a connection: what it sends to a group is accepted in its order.
func TestSendsOfAConnectionKeepTheirOrder(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const conns, each = 12, 30
		r := e.recovery()
		groups := append(groupsIn(1, 2), groupsIn(2, 1)...)
		for _, g := range groups {
			r.groups[g] = group(g, domain.Room)
		}
		s := e.sender(t, r, AppendConfig{})
		var answers [conns][each]<-chan result
		var wg sync.WaitGroup
		for c := range conns {
			wg.Go(func() {
				for i := range each {
					answers[c][i] = s.post(domain.Draft{Group: groups[(c+i)%3], From: fmt.Sprint("u", c)})
				}
			})
		}
		wg.Wait()
		all := make(map[string][]int64)
		for c := range conns {
			last := make(map[string]int64)
			for _, answer := range answers[c] {
				got := await(t, answer)
				require.NoError(t, got.err)
				require.Greater(t, got.Seq, last[got.Group], "order of connection %d in %s", c, got.Group)
				last[got.Group] = got.Seq
				all[got.Group] = append(all[got.Group], got.Seq)
			}
		}
		for g, seqs := range all {
			slices.Sort(seqs)
			for i, seq := range seqs {
				require.Equal(t, int64(i+1), seq, g)
			}
		}
	})
}

package redisrepo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// heard collects what is published in a group from now on.
func (e *env) heard(t *testing.T, group string) (next func() string) {
	t.Helper()
	pubsub := e.store.rdb.Subscribe(t.Context(), groupChannel(e.cfg.Partitions.Of(group), group))
	t.Cleanup(func() { require.NoError(t, pubsub.Close()) })
	_, err := pubsub.Receive(t.Context())
	require.NoError(t, err)
	return func() string {
		m, err := pubsub.ReceiveTimeout(t.Context(), patience)
		require.NoError(t, err)
		return m.(*redis.Message).Payload
	}
}

func (e *env) signal(t *testing.T, s domain.Signal) domain.SignalOutcome {
	t.Helper()
	outcome, err := e.store.Signal(t.Context(), s)
	require.NoError(t, err)
	return outcome
}

func TestSignalIsPublishedAsClientsGetIt(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.recovery(group("room", domain.Room)).Load(t.Context(), "room", false))
		next := e.heard(t, "room")
		for name, c := range map[string]struct {
			signal domain.Signal
			first  string
			event  map[string]any // but time_ms
		}{
			"plain": {
				domain.Signal{Group: "room", From: "ann", Kind: "typing"},
				"e -",
				map[string]any{"event": "signal", "group": "room", "from": "ann", "kind": "typing"},
			},
			"with data": {
				domain.Signal{Group: "room", From: "ann", Kind: "typing", Data: json.RawMessage(`{"a":[1,null]}`), Except: "c7"},
				"e c7",
				map[string]any{"event": "signal", "group": "room", "from": "ann", "kind": "typing", "data": map[string]any{"a": []any{1.0, nil}}},
			},
			"any kind": {
				domain.Signal{Group: "room", From: "system", Operator: "key", Kind: "a \"b\"\n\\ <你>"},
				"e -",
				map[string]any{"event": "signal", "group": "room", "from": "system", "kind": "a \"b\"\n\\ <你>"},
			},
		} {
			require.Equal(t, domain.MissingNothing, e.signal(t, c.signal).Missing, name)
			first, event, _ := strings.Cut(next(), "\n")
			require.Equal(t, c.first, first, name)
			require.NotContains(t, event, "\n", name)
			require.True(t, strings.HasPrefix(event, `{"event":"signal"`), name)
			var got map[string]any
			require.NoError(t, json.Unmarshal([]byte(event), &got), name)
			now, err := e.store.NowMS(t.Context())
			require.NoError(t, err)
			require.InDelta(t, now, got["time_ms"], float64(patience.Milliseconds()), name)
			delete(got, "time_ms")
			require.Equal(t, c.event, got, name)
		}
		p := e.cfg.Partitions.Of("room")
		left, err := e.store.rdb.Exists(t.Context(), logKey(p, 1), seqKey(p, 1), recentKey(p, 1, "room"), speakersKey(p)).Result()
		require.NoError(t, err)
		require.Zero(t, left, "nothing is stored")
	})
}

func TestWhoMaySignal(t *testing.T) {
	past := time.Now().Add(-time.Hour).UnixMilli()
	as := func(role domain.Role, mute int64) []domain.Membership {
		return []domain.Membership{{User: "u", Role: role, MuteUntilMS: mute}}
	}
	eachRedis(t, func(t *testing.T, e *env) {
		for name, c := range map[string]struct {
			group    domain.Group
			members  []domain.Membership
			operator string
			want     domain.Code
		}{
			"member":                     {group: domain.Group{Type: domain.Private}, members: as(domain.Member, 0)},
			"outsider of a room":         {group: domain.Group{Type: domain.Room}},
			"outsider of a group":        {group: domain.Group{Type: domain.Private}, want: domain.CodeNotMember},
			"outsider of a direct":       {group: domain.Group{Type: domain.Direct}, want: domain.CodeNotMember},
			"blocked in a room":          {group: domain.Group{Type: domain.Room}, members: as(domain.BlockedIn, 0), want: domain.CodeForbidden},
			"muted for ever":             {group: domain.Group{Type: domain.Room}, members: as(domain.Member, domain.MuteForever), want: domain.CodeMuted},
			"muted outsider of a room":   {group: domain.Group{Type: domain.Room}, members: as(domain.Outsider, domain.MuteForever), want: domain.CodeMuted},
			"muted until a moment ago":   {group: domain.Group{Type: domain.Room}, members: as(domain.Member, past)},
			"member of a muted group":    {group: domain.Group{Type: domain.Private, Muted: true}, members: as(domain.Member, 0), want: domain.CodeMuted},
			"owner of a muted group":     {group: domain.Group{Type: domain.Private, Muted: true}, members: as(domain.Owner, 0)},
			"app server, muted group":    {group: domain.Group{Type: domain.Private, Muted: true}, operator: "key"},
			"app server as an outsider":  {group: domain.Group{Type: domain.Direct}, operator: "key"},
			"app server, dismissed":      {group: domain.Group{Type: domain.Room, Dismissed: true}, operator: "key", want: domain.CodeGone},
			"owner of a dismissed group": {group: domain.Group{Type: domain.Room, Dismissed: true}, members: as(domain.Owner, 0), want: domain.CodeGone},
		} {
			id := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			c.group.ID, c.group.Version = id, 1
			require.NoError(t, e.store.FillGroup(t.Context(), &domain.GroupSnapshot{Group: c.group, Members: c.members}))
			outcome, err := e.store.Signal(t.Context(), domain.Signal{Group: id, From: "u", Operator: c.operator, Kind: "k"})
			require.Equal(t, c.want, domain.CodeOf(err), name)
			require.Equal(t, domain.MissingNothing, outcome.Missing, name)
		}
	})
}

func TestSignalToAStrangerIsRefusedUntilHeWrites(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ann, bob := domain.Signal{Group: ab, From: "ann", Kind: "k"}, domain.Signal{Group: ab, From: "bob", Kind: "k"}
		refused := func(s domain.Signal) {
			t.Helper()
			_, err := e.store.Signal(t.Context(), s)
			require.Equal(t, domain.CodeStrangerLimit, domain.CodeOf(err))
		}
		r := e.recovery(direct(ab))
		s := e.sender(t, r, AppendConfig{}) // whatever the limit
		s.must(t, to(ab, "ann"))
		refused(ann)
		e.signal(t, bob)
		server := ann
		server.Operator = "key"
		e.signal(t, server)
		byServer := to(ab, "bob")
		byServer.Operator = "key"
		s.must(t, byServer)
		refused(ann)
		s.must(t, to(ab, "bob"))
		e.signal(t, ann)
	})
}

func TestSignalTellsWhatIsMissing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of(ab)
		missing := func(want domain.Missing, gen int64, s domain.Signal) {
			t.Helper()
			require.Equal(t, domain.SignalOutcome{Missing: want, Partition: p, Gen: gen}, e.signal(t, s))
		}
		ann := domain.Signal{Group: ab, From: "ann", Kind: "k"}
		missing(domain.MissingGroup, 1, ann)
		r := e.recovery(direct(ab))
		require.NoError(t, r.load(t.Context(), ab))
		missing(domain.MissingSeed, 1, ann)
		server := ann
		server.Operator = "key"
		missing(domain.MissingNothing, 1, server)
		r.seeds[ab] = domain.Seed{Start: 5, Sent: [2]int64{0, 1}}
		require.NoError(t, r.seed(t.Context(), p, 1, []string{ab}))
		missing(domain.MissingNothing, 1, ann)
		e.raiseRedis(t, p, 2)
		missing(domain.MissingGeneration, 1, ann)
		e.gens[p].Store(2)
		missing(domain.MissingGroup, 2, ann)
	})
}

func TestSignalTellsAServerThatIsNotTheOneItWas(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	require.NoError(t, e.recovery(group("room", domain.Room)).load(t.Context(), "room"))
	p := e.cfg.Partitions.Of("room")
	require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(p), "server", "another").Err())
	require.Equal(t, domain.MissingGeneration, e.signal(t, domain.Signal{Group: "room", From: "ann", Kind: "k"}).Missing)
}

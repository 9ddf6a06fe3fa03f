package redisrepo

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// judge is a hook that says what it was told to say last.
type judge struct {
	verdict atomic.Pointer[domain.Verdict]
}

func (j *judge) says(v domain.Verdict) { j.verdict.Store(&v) }

func (j *judge) Judge(context.Context, *domain.Draft) domain.Verdict { return *j.verdict.Load() }

// judged is a sender behind a hook.
func (e *env) judged(t *testing.T, r Recovery, cfg AppendConfig) (*sender, *judge) {
	t.Helper()
	s, j := e.sender(t, r, cfg), &judge{}
	j.says(domain.Verdict{})
	s.sends.UseBeforeSend(j)
	return s, j
}

var rejection = domain.Errorf(domain.CodeRejected, "no")

// What is stored, shown and kept is the body of the hook, and the hash everywhere that of what was sent.
func TestReplacedBodyIsStoredWithTheHashOfWhatWasSent(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		kept := e.journaled()
		heard := e.subscribe(t, e.store, "a")
		s, hook := e.judged(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		hook.says(domain.Verdict{Body: text("***")})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("damn"), Mute: "conn"}
		first := s.must(t, draft)
		want := domain.Message{
			Group: "a", Seq: first.Seq, TimeMS: first.TimeMS, Gen: 1, GroupType: domain.Room,
			Header: domain.Header{From: "u", ClientID: "c"}, Body: text("***"),
			Hash: "x" + domain.ContentHash(draft.Body, nil, 0)[1:],
		}
		require.Equal(t, want, e.logged(t, "a")[0].Message)

		record := want.Record()
		record.Mute = "conn"
		recent, err := e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: 1, To: 1, Limit: 1}})
		require.NoError(t, err)
		require.Equal(t, []domain.Record{record}, recent[0])
		require.Equal(t, want.Hash, record.Hash)

		s.must(t, domain.Draft{Group: "a", From: "u", Body: text("damn")})
		recent, err = e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: 2, To: 2, Limit: 1}})
		require.NoError(t, err)
		require.Empty(t, recent[0][0].Mute)
		require.NotEmpty(t, recent[0][0].Hash)

		until(t, "push", func() bool { return len(heard.pushed()) == 2 })
		push := heard.pushed()[0]
		require.Equal(t, domain.Push{Group: "a", Gen: 1, Seq: 1, Mute: "conn", Event: push.Event, Hash: want.Hash}, push)
		require.Contains(t, string(push.Event), `"***"`)

		u, err := kept.All(e.cfg.Partitions.Of("a"))
		require.NoError(t, err)
		want.GroupType = ""
		require.Equal(t, want, u.Messages[0], "as the log has it")
	})
}

func TestRepeatIsADuplicateWhateverTheHookSaysNow(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s, hook := e.judged(t, e.recovery(group("a", domain.Room)), AppendConfig{})
		verdicts := []domain.Verdict{{Body: text("one")}, {}, {Body: text("two")}, {Refused: rejection}}
		for i, first := range verdicts[:3] {
			draft := domain.Draft{Group: "a", From: "u", ClientID: fmt.Sprint("c", i), Body: text("x")}
			hook.says(first)
			want := s.must(t, draft)
			require.False(t, want.Duplicate)
			want.Duplicate = true
			for _, now := range verdicts {
				hook.says(now)
				require.Equal(t, want, s.must(t, draft))
			}
			draft.Body = text("one") // what may have become of it is not what was sent
			for _, now := range verdicts {
				hook.says(now)
				s.refused(t, domain.CodeConflict, draft)
			}
		}
		require.Len(t, e.logged(t, "a"), 3)
	})
}

func TestRejectedSendLeavesNothing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Private, "u"))
		s, hook := e.judged(t, r, AppendConfig{UserRate: 0.001, UserBurst: 2})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c"}
		s.must(t, domain.Draft{Group: "a", From: "u"})
		heads := e.head(t, "u", "a")
		hook.says(domain.Verdict{Refused: rejection})
		for range 5 {
			got := s.refused(t, domain.CodeRejected, draft)
			require.Equal(t, *rejection, got)
		}
		s.refused(t, domain.CodeNotMember, domain.Draft{Group: "a", From: "stranger"})
		s.refused(t, domain.CodeNotFound, domain.Draft{Group: "none", From: "u"})
		opening := to(ab, "ann")
		opening.Open = true
		for range 3 { // loading takes no turn in the rate either
			s.refused(t, domain.CodeRejected, opening)
		}
		require.Empty(t, r.opened())
		require.Equal(t, heads, e.head(t, "u", "a"))
		require.Len(t, e.logged(t, "a"), 1)

		hook.says(domain.Verdict{})
		got := s.must(t, draft)
		require.False(t, got.Duplicate, "it took no turn in the rate, and its id is free")
		require.Equal(t, int64(2), got.Seq)
	})
}

// A new generation has not heard of the first send before the group is seeded.
func TestRejectedRepeatOfAFormerGenerationsSendIsADuplicate(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		s, hook := e.judged(t, r, AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("x")}
		hook.says(domain.Verdict{Body: text("y")})
		first := s.must(t, draft)
		stored := e.logged(t, "a")[0].Message
		remembered, ok := stored.RecentSend()
		require.True(t, ok)
		r.mu.Lock()
		r.seeds["a"] = domain.Seed{Start: 1000, LastMS: first.TimeMS, Recent: []domain.RecentSend{remembered}}
		r.mu.Unlock()
		e.raise(t, 2)
		hook.says(domain.Verdict{Refused: rejection})
		again := s.must(t, draft)
		require.Equal(t, []any{first.Seq, first.TimeMS, true}, []any{again.Seq, again.TimeMS, again.Duplicate})
		draft.ClientID = "other"
		s.refused(t, domain.CodeRejected, draft)
	})
}

// Another instance has stored what its hook made of the message. What this one's hook would have made was never stored.
func TestWhatTheHookMadeOfARepeatIsNotKept(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		s, hook := e.judged(t, r, AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("x")}
		hook.says(domain.Verdict{Body: text("stored")})
		s.must(t, draft)
		kept := e.journaled() // as that of an instance that did not take the first send
		for _, v := range []domain.Verdict{{Body: text("other")}, {}} {
			hook.says(v)
			require.True(t, s.must(t, draft).Duplicate)
			require.Empty(t, heldBy(t, kept, "a"))
		}
	})
}

// What is refused was never stored by this instance, be its answer lost: it must not get to MySQL by its journal.
func TestARefusedRepeatWhoseReplyIsLostIsNotKept(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		first, hook := e.judged(t, r, AppendConfig{})
		hook.says(domain.Verdict{Body: text("***")})
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("damn")}
		first.must(t, draft)

		p := testserver.NewProxy(t, e.addr)
		other, kept := e.open(t, p.Addr()), domain.NewJournal(testPartitions, 1<<20)
		other.UseJournal(kept)
		s := newSender(t, other, r, AppendConfig{})
		stern := &judge{}
		stern.says(domain.Verdict{Refused: rejection})
		s.sends.UseBeforeSend(stern)
		var lost atomic.Int64
		p.Keep(func(reply []byte) bool { return !bytes.Contains(reply, []byte("DUP 1")) || lost.Add(1) > 1 })
		require.True(t, s.must(t, draft).Duplicate)
		require.Equal(t, int64(2), lost.Load(), "asked again")
		require.Empty(t, heldBy(t, kept, "a"))
	})
}

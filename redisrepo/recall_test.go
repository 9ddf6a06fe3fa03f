package redisrepo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// recall recalls a message and tells the word that stands for the answer.
func (e *env) recall(t *testing.T, o domain.RecallOrder) (domain.Missing, domain.Code) {
	t.Helper()
	outcome, err := e.store.Recall(t.Context(), o)
	if err != nil {
		return "", domain.CodeOf(err)
	}
	return outcome.Missing, ""
}

// shown has what readers are shown of a group's recent messages.
func (e *env) shown(t *testing.T, r domain.Range) map[int64]string {
	t.Helper()
	r.To = 1 << 50
	if r.Limit == 0 {
		r.Limit = 2000
	}
	pages, err := e.store.Recent(t.Context(), []domain.Range{r})
	require.NoError(t, err)
	tails := make(map[int64]string)
	for _, m := range pages[0] {
		tails[m.Seq] = string(m.Tail)
	}
	return tails
}

func by(user string) domain.Actor { return domain.Actor{User: user} }

// talk lets each user send one message to the group; the n-th is seq n.
func (e *env) talk(t *testing.T, r *recovery, group string, users ...string) *sender {
	t.Helper()
	s := e.sender(t, r, AppendConfig{})
	for i, u := range users {
		require.Equal(t, int64(i+1), seqs(t, []<-chan result{s.post(domain.Draft{Group: group, From: u})})[0])
	}
	return s
}

func TestRecalledMessagesAreShownWithoutContent(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.talk(t, e.recovery(group("g", domain.Private, "ann", "bob")), "g", "ann", "ann", "bob")
		next := e.heard(t, "g")
		require.Contains(t, e.shown(t, domain.Range{Group: "g"})[2], "body")

		missing, code := e.recall(t, domain.RecallOrder{Group: "g", Seq: 2, Actor: by("ann")})
		require.Empty(t, missing)
		require.Empty(t, code)

		payload := next()
		first, event, _ := strings.Cut(payload, "\n")
		words := strings.Fields(first)
		require.Len(t, words, 5)
		require.Equal(t, []string{"x", "1", "2", "ann"}, []string{words[0], words[1], words[2], words[4]})
		require.JSONEq(t, `{"event":"recall","group":"g","seq":2,"by":"ann","time_ms":`+words[3]+`}`, event)
		for _, r := range []domain.Range{{Group: "g"}, {Group: "g", Last: true}} {
			shown := e.shown(t, r)
			require.NotContains(t, shown[2], "body")
			require.Contains(t, shown[2], `"recalled_ms":`+words[3]+`,"recalled_by":"ann"}`)
			require.Contains(t, shown[1]+shown[3], "body")
		}
		again, code := e.recall(t, domain.RecallOrder{Group: "g", Seq: 2, Actor: by("bob")})
		require.Empty(t, string(again)+string(code), "what is recalled stays so")
		require.Len(t, e.logged(t, "g"), 4, "once in the log")
		last := e.logged(t, "g")[3].Recall
		require.Equal(t, []any{"g", int64(2), int64(1), "ann"}, []any{last.Group, last.Seq, last.Gen, last.By})
	})
}

func TestWhoMayRecall(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(
			group("g", domain.Private, "own:owner", "adm:admin", "adm2:admin", "ann", "bob", "bad:blocked"),
			group("dm:ann:bob", domain.Direct, "ann", "bob"),
			group("room", domain.Room, "own:owner"),
		)
		old := time.Now().Add(-3 * time.Minute).UnixMilli()
		for _, id := range []string{"g", "dm:ann:bob", "room"} {
			require.NoError(t, r.Load(t.Context(), id, false))
			p := e.cfg.Partitions.Of(id)
			require.NoError(t, e.store.rdb.HSet(t.Context(), seqKey(p, 1), id, fmt.Sprintf("9 %d", time.Now().UnixMilli())).Err())
		}
		for _, c := range []struct {
			group, from string
			fresh       bool
			actor       domain.Actor
			want        domain.Code
		}{
			{"g", "ann", true, by("ann"), ""},
			{"g", "ann", false, by("ann"), domain.CodeForbidden},
			{"g", "ann", true, by("bob"), domain.CodeForbidden},
			{"g", "ann", false, by("adm"), ""},
			{"g", "ann", false, by("own"), ""},
			{"g", "adm", false, by("adm"), ""},
			{"g", "adm2", true, by("adm"), domain.CodeForbidden},
			{"g", "own", true, by("adm"), domain.CodeForbidden},
			{"g", "adm", false, by("own"), ""},
			{"g", "own", false, by("own"), ""},
			{"g", "gone", false, by("adm"), ""},
			{"g", "system", false, by("adm"), ""},
			{"g", "bad", true, by("bad"), domain.CodeForbidden},
			{"g", "gone", true, by("gone"), domain.CodeNotMember},
			{"g", "own", false, domain.Actor{Key: "shop"}, ""},
			{"g", "own", false, domain.Actor{Key: "shop", User: "bob"}, ""},
			{"room", "visitor", true, by("visitor"), ""},
			{"room", "visitor", true, by("other"), domain.CodeForbidden},
			{"dm:ann:bob", "ann", true, by("ann"), ""},
			{"dm:ann:bob", "ann", false, by("ann"), domain.CodeForbidden},
			{"dm:ann:bob", "ann", true, by("bob"), domain.CodeForbidden},
			{"dm:ann:bob", "ann", true, by("own"), domain.CodeNotMember},
			{"dm:ann:bob", "ann", false, domain.Actor{Key: "shop"}, ""},
		} {
			ms := old
			if c.fresh {
				ms = time.Now().UnixMilli()
			}
			m := domain.Message{Group: c.group, Seq: 1, TimeMS: ms, Header: domain.Header{From: c.from}, Body: []byte(`[]`)}
			record := m.Record()
			p := e.cfg.Partitions.Of(c.group)
			for name, stored := range map[string]*domain.Record{"recent": nil, "in MySQL": &record} {
				require.NoError(t, e.store.rdb.Del(t.Context(), recentKey(p, 1, c.group), recalledKey(p, 1, c.group)).Err())
				if stored == nil {
					require.NoError(t, e.store.rdb.Do(t.Context(), "XADD", recentKey(p, 1, c.group), "1-0", "m", record.Tail).Err())
				}
				missing, code := e.recall(t, domain.RecallOrder{Group: c.group, Seq: 1, Actor: c.actor, Stored: stored})
				require.Empty(t, missing)
				require.Equal(t, c.want, code, "%+v, %s", c, name)
				n, err := e.store.rdb.HLen(t.Context(), recalledKey(p, 1, c.group)).Result()
				require.NoError(t, err)
				require.Equal(t, c.want == "", n == 1, "%+v, %s", c, name)
			}
		}
	})
}

func TestRecallAsksForWhatIsMissing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		order := domain.RecallOrder{Group: "g", Seq: 2, Actor: by("ann")}
		word := func() string {
			missing, code := e.recall(t, order)
			return string(missing) + string(code)
		}
		require.Equal(t, string(domain.MissingGroup), word())
		s := group("g", domain.Private, "ann")
		r := e.recovery(s)
		require.NoError(t, r.Load(t.Context(), "g", false))
		require.Equal(t, string(domain.MissingSeed), word())
		e.talk(t, r, "g", "ann")
		require.Equal(t, string(domain.CodeNotFound), word(), "above the last")
		order.Seq = 1
		p := e.cfg.Partitions.Of("g")
		require.NoError(t, e.store.rdb.Del(t.Context(), recentKey(p, 1, "g")).Err())
		require.Equal(t, string(domain.MissingMessage), word())
		m := domain.Message{Group: "g", Seq: 1, TimeMS: 5, Header: domain.Header{From: "ann", RecalledMS: 9, RecalledBy: "x"}}
		record := m.Record()
		order.Stored = &record
		require.Empty(t, word(), "it is recalled already")
		require.Len(t, e.logged(t, "g"), 1, "which MySQL knows")
		s.Dismissed, s.Version = true, 99
		require.NoError(t, e.store.Changed(t.Context(), &domain.GroupChange{Group: s.Group}))
		require.NoError(t, r.Load(t.Context(), "g", false))
		require.Equal(t, string(domain.CodeGone), word())
		e.raiseRedis(t, p, 2)
		require.Equal(t, string(domain.MissingGeneration), word())
	})
}

// What is recalled stays so until neither recent nor MySQL has the content.
func TestARecallIsRememberedAsLongAsItIsNeeded(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx, p := t.Context(), e.cfg.Partitions.Of("g")
		r := e.recovery(group("g", domain.Private, "ann:owner"))
		require.NoError(t, r.Load(ctx, "g", false))
		all := e.written(t, 1200, "g")
		require.NoError(t, e.store.rdb.HSet(ctx, seqKey(p, 1), "g", "1200 5").Err())
		for _, seq := range []int64{1, 1150} {
			missing, code := e.recall(t, domain.RecallOrder{Group: "g", Seq: seq, Actor: by("ann")})
			require.Empty(t, string(missing)+string(code))
		}
		remembered := func() (seqs []int64) {
			lists, err := e.store.Recalled(ctx, []string{"g"})
			require.NoError(t, err)
			for _, r := range lists[0] {
				seqs = append(seqs, r.Seq)
			}
			return seqs
		}
		written := func() (seqs []int64) {
			list, err := e.store.RecallsWritten(ctx, e.log("g"), []domain.Recall{{Group: "g", Seq: 1}, {Group: "g", Seq: 1150}})
			require.NoError(t, err)
			for _, r := range list {
				seqs = append(seqs, r.Seq)
			}
			return seqs
		}
		e.commit(t, "g", all)
		require.NotContains(t, e.shown(t, domain.Range{Group: "g"}), int64(1), "trimmed")
		require.ElementsMatch(t, []int64{1, 1150}, remembered(), "the rows are not updated yet")
		ttl, err := e.store.rdb.PTTL(ctx, recalledKey(p, 1, "g")).Result()
		require.NoError(t, err)
		require.Negative(t, ttl, "for as long as that takes")
		require.Empty(t, written())

		var recalls []domain.LogEntry
		for _, entry := range e.logged(t, "g") {
			if entry.Recall != nil {
				recalls = append(recalls, entry)
			}
		}
		require.Len(t, recalls, 2)
		require.Equal(t, int64(1200), e.head(t, "ann", "g").PersistedSeq)
		e.commit(t, "g", recalls)
		require.Equal(t, []int64{1150}, remembered(), "it is still recent")
		require.ElementsMatch(t, []int64{1, 1150}, written())
		require.Equal(t, int64(1200), e.head(t, "ann", "g").PersistedSeq, "watermarks are those of messages")
		require.NotContains(t, e.shown(t, domain.Range{Group: "g"})[1150], "body")
		require.NoError(t, e.store.SetHoles(ctx, "g", domain.Holes{{From: 1, To: 1150, Reason: domain.HoleExpired}}))
		require.Empty(t, remembered())
		ttl, err = e.store.rdb.PTTL(ctx, recalledKey(p, 1, "g")).Result()
		require.NoError(t, err)
		require.Negative(t, ttl, "nothing is left")
	})
}

// The journal gets the message itself: with the recall alone, it would come to MySQL before its message. Its hash is that of
// what was sent, also where the body was replaced: repeats of the send are told by the row.
func TestAcknowledgedRecallsAreInTheJournal(t *testing.T) {
	for name, verdict := range map[string]domain.Verdict{"as it was sent": {}, "replaced": {Body: text("***")}} {
		t.Run(name, func(t *testing.T) { testRecallsInTheJournal(t, verdict) })
	}
}

func testRecallsInTheJournal(t *testing.T, verdict domain.Verdict) {
	eachRedis(t, func(t *testing.T, e *env) {
		s, hook := e.judged(t, e.recovery(group("g", domain.Private, "ann", "bob")), AppendConfig{})
		hook.says(verdict)
		s.must(t, domain.Draft{Group: "g", From: "ann", Body: text("damn")})
		p := e.cfg.Partitions.Of("g")
		for _, actor := range []domain.Actor{by("ann"), by("bob")} { // bob's is a repeat
			other := e.open(t, e.addr)
			journal := domain.NewJournal(testPartitions, 1<<20)
			other.UseJournal(journal)
			outcome, err := other.Recall(t.Context(), domain.RecallOrder{Group: "g", Seq: 1, Actor: actor})
			require.NoError(t, err)
			require.Empty(t, outcome.Missing)
			kept, err := journal.Close(p, 2)
			require.NoError(t, err)
			require.Len(t, kept.Recalls, 1)
			require.Equal(t, "ann", kept.Recalls[0].By)
			require.Len(t, kept.Messages, 1)
			require.Empty(t, kept.Messages[0].Body)
			require.NotZero(t, kept.Messages[0].RecalledMS)
			require.Equal(t, e.logged(t, "g")[0].Hash, kept.Messages[0].Hash, "by which the row is known")

			outcome, err = other.Recall(t.Context(), domain.RecallOrder{Group: "g", Seq: 1, Actor: actor})
			require.NoError(t, err)
			require.Equal(t, domain.MissingGeneration, outcome.Missing, "the generation is closed")
		}
	})
}

func TestARecallThatAFullRedisRefusesIsNotDoneByHalf(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	e.talk(t, e.recovery(group("g", domain.Private, "ann")), "g", "ann")
	e.configSet(t, "maxmemory", "1")
	order := domain.RecallOrder{Group: "g", Seq: 1, Actor: by("ann")}
	_, code := e.recall(t, order)
	require.Equal(t, domain.CodeOverloaded, code)
	require.Contains(t, e.shown(t, domain.Range{Group: "g"})[1], "body")
	e.commit(t, "g", e.logged(t, "g"))
	e.configSet(t, "maxmemory", "0")
	missing, code := e.recall(t, order)
	require.Empty(t, string(missing)+string(code))
	require.NotContains(t, e.shown(t, domain.Range{Group: "g"})[1], "body")
}

// A Redis that is emptied knows of no recall, and MySQL may have the content still.
func TestRecallsAreNotBelievedOfARedisThatIsEmptiedAmongTheReads(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p, ranges := e.cfg.Partitions.Of("g"), []domain.Range{{Group: "g", From: 1, To: 9, Limit: 9}}
		for commands, read := range map[int]func(*Store) error{
			1: func(s *Store) error { _, err := s.Recalled(t.Context(), []string{"g"}); return err },
			2: func(s *Store) error { _, err := s.Recent(t.Context(), ranges); return err },
		} {
			for behind, flushed := 0, true; flushed; behind++ {
				e.raise(t, e.gens[p].Load()+1)
				flushed = false
				emptied := e.open(t, e.addr)
				emptied.rdb.AddHook(flushAmong{behind, func() { require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err()) }, &flushed})
				err := read(emptied)
				if flushed && behind <= commands {
					require.ErrorContains(t, err, "is over", "emptied behind %d of %d", behind, commands)
				}
				if !flushed {
					require.NoError(t, err)
				}
			}
		}
	})
}

// What was shown as recalled stays so, also if whoever recalled it never learns that he did.
func TestRecallsThatAreShownAreInTheJournal(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.talk(t, e.recovery(group("g", domain.Private, "ann", "bob")), "g", "ann", "ann", "ann")
		for _, seq := range []int64{1, 3} {
			_, code := e.recall(t, domain.RecallOrder{Group: "g", Seq: seq, Actor: by("ann")})
			require.Empty(t, code)
		}
		other, p := e.open(t, e.addr), e.cfg.Partitions.Of("g")
		journal := domain.NewJournal(testPartitions, 1<<20)
		other.UseJournal(journal)
		pages, err := other.Recent(t.Context(), []domain.Range{{Group: "g", From: 1, To: 2, Limit: 9}})
		require.NoError(t, err)
		require.Len(t, pages[0], 2)
		kept, err := journal.Close(p, 2)
		require.NoError(t, err)
		require.Len(t, kept.Recalls, 1)
		require.Equal(t, []any{"g", int64(1), int64(1), "ann"}, []any{kept.Recalls[0].Group, kept.Recalls[0].Seq, kept.Recalls[0].Gen, kept.Recalls[0].By})
		require.Len(t, kept.Messages, 2)
		require.Empty(t, kept.Messages[0].Body)
		require.NotEmpty(t, kept.Messages[1].Body)
	})
}

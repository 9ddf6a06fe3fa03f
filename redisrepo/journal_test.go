package redisrepo

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// journaled gives the store a journal.
func (e *env) journaled() *domain.Journal {
	j := domain.NewJournal(testPartitions, 1<<30)
	e.store.UseJournal(j)
	return j
}

// renewing are generations that begin when the store asks for them: in Redis, in the journal, then for everybody.
type renewing struct {
	generationsOf
	t *testing.T
	j *domain.Journal
}

func (r renewing) Renew(_ context.Context, p int, seen int64) error {
	if r.Of(p) == seen {
		r.e.begins(r.t, r.j, p, seen+1)
	}
	return nil
}

func (e *env) begins(t *testing.T, j *domain.Journal, p int, gen int64) {
	e.raiseRedis(t, p, gen)
	_, err := j.Close(p, gen)
	require.NoError(t, err)
	e.gens[p].Store(gen)
}

// heldBy are the seqs that the journal holds of a group.
func heldBy(t *testing.T, j *domain.Journal, group string) (seqs []int64) {
	t.Helper()
	u, err := j.All(domain.Partitions(testPartitions).Of(group))
	require.NoError(t, err)
	for _, m := range u.Messages {
		if m.Group == group {
			seqs = append(seqs, m.Seq)
		}
	}
	return seqs
}

// afterReply is a hook that does something between a reply of Redis and whoever waits for it.
type afterReply struct {
	mu   sync.Mutex // guards what follows
	next func()     // done once
}

func (h *afterReply) set(next func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = next
}

func (h *afterReply) came() {
	h.mu.Lock()
	next := h.next
	h.next = nil
	h.mu.Unlock()
	if next != nil {
		next()
	}
}

func (h *afterReply) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *afterReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.came()
		return err
	}
}

func (h *afterReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		h.came()
		return err
	}
}

func TestReachedTellsWatermarksAndWrittenMarks(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		groups := groupsIn(3, 3)
		entries := e.sent(t, 20, groups[:2]...)
		log := e.log(groups[0])
		e.commit(t, groups[0], entries[:9])
		want := map[string]int64{groups[0]: 0, groups[1]: 0, groups[2]: 1 << 53} // the last one is not seeded: nothing of it waits
		for _, entry := range entries[:9] {
			want[entry.Group] = entry.Seq
		}
		who := []domain.GroupUser{{Group: groups[0], User: "v"}, {Group: groups[0], User: "w"}, {Group: groups[1], User: "v"}}
		for _, w := range who {
			_, err := e.store.MarkRead(ctx, w.Group, w.User, 3, 0, nil)
			require.NoError(t, err)
		}
		require.NoError(t, e.store.MarksWritten(ctx, log, map[domain.GroupUser]int64{who[0]: 3, who[1]: 2}))

		marks, written, err := e.store.Reached(ctx, log, groups, who)
		require.NoError(t, err)
		require.Equal(t, want, marks)
		require.Equal(t, who[:1], written)

		marks, written, err = e.store.Reached(ctx, log, nil, nil)
		require.NoError(t, err)
		require.Empty(t, marks)
		require.Empty(t, written)

		var many []string
		for n := range 2*reachedCall + 1 {
			many = append(many, fmt.Sprint("x", n))
		}
		marks, written, err = e.store.Reached(ctx, log, append(many, groups[1]), who)
		require.NoError(t, err)
		require.Len(t, marks, len(many)+1)
		require.Equal(t, want[groups[1]], marks[groups[1]])
		require.Equal(t, who[:1], written, "in calls of %d", reachedCall)
	})
}

// A server that was emptied would say that no mark waits any more.
func TestReachedTellsNothingOfAnotherGenerationOrServer(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, e *env, p int){
		"emptied":     func(t *testing.T, e *env, _ int) { require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err()) },
		"a newer one": func(t *testing.T, e *env, p int) { e.raiseRedis(t, p, 2) },
		"another's server": func(t *testing.T, e *env, p int) {
			require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(p), "server", "b").Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				entries := e.sent(t, 4, "a")
				e.commit(t, "a", entries)
				log, who := e.log("a"), []domain.GroupUser{{Group: "a", User: "v"}}
				change(t, e, log.Partition)
				marks, written, err := e.store.Reached(t.Context(), log, []string{"a"}, who)
				require.NoError(t, err)
				require.Empty(t, marks)
				require.Empty(t, written)
			})
		})
	}
}

func TestWhatIsShownOfRecentMessagesIsKept(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.sent(t, 30, "a")
		j := e.journaled()
		read := func(committed int64) []domain.Record {
			got, err := e.store.Recent(t.Context(), []domain.Range{
				{Group: "a", From: 11, To: 20, Limit: 5, Committed: committed}, {Group: "b", From: 1, To: 5, Limit: 5},
			})
			require.NoError(t, err)
			return got[0]
		}
		require.Len(t, read(15), 5)
		require.Empty(t, heldBy(t, j, "a"), "MySQL has them")
		require.Len(t, read(13), 5)
		require.Equal(t, []int64{14, 15}, heldBy(t, j, "a"), "above the watermark, and no more than was shown")
		require.Len(t, read(0), 5)
		require.Equal(t, []int64{11, 12, 13, 14, 15}, heldBy(t, j, "a"))
		u, err := j.All(e.cfg.Partitions.Of("a"))
		require.NoError(t, err)
		entries := e.logged(t, "a")
		for i, m := range u.Messages {
			want := entries[10+i].Message
			want.GroupType = ""
			require.Equal(t, want, m, "as the log has it")
		}
	})
}

// The page was read when the generation ended: MySQL has what the journals wrote by then, not this page.
func TestAPageOfAGenerationThatEndsIsReadAgain(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.sent(t, 5, "a")
		j, p := e.journaled(), e.cfg.Partitions.Of("a")
		e.store.UseGenerations(renewing{generationsOf{e}, t, j})
		hook := &afterReply{}
		e.store.rdb.AddHook(hook)
		ranges := []domain.Range{{Group: "a", From: 1, To: 10, Limit: 10}}
		hook.set(func() { e.begins(t, j, p, 2) })
		got, err := e.store.Recent(t.Context(), ranges)
		require.NoError(t, err)
		require.Empty(t, got[0], "the new generation has none")
		require.Empty(t, heldBy(t, j, "a"))

		// Heard of, and not in use yet: the page waits for it.
		e.sent(t, 3, "a")
		hook.set(func() {
			_, err := j.Close(p, 3)
			require.NoError(t, err)
		})
		got, err = e.store.Recent(t.Context(), ranges)
		require.NoError(t, err)
		require.Empty(t, got[0])
		require.Equal(t, int64(3), e.gens[p].Load(), "it has renewed")
	})
}

func TestWhatOthersSayOfAGenerationThatIsOverEndsSomeTime(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.sent(t, 5, "a")
		j, p := e.journaled(), e.cfg.Partitions.Of("a")
		_, err := j.Close(p, 2)
		require.NoError(t, err)
		_, err = e.store.Recent(t.Context(), []domain.Range{{Group: "a", From: 1, To: 10, Limit: 10}})
		require.ErrorContains(t, err, "generation 1 is over", "renewals bring nothing")
		_, err = e.store.MarkRead(t.Context(), "a", "v", 3, 0, nil)
		require.ErrorContains(t, err, "generation 1 is over")
		_, err = e.store.Heads(t.Context(), "v", []string{"b", "a"})
		require.ErrorContains(t, err, "generation 1 is over", "others may have accepted more on another master")
		require.NoError(t, e.store.FillGroup(t.Context(), &domain.GroupSnapshot{
			Group: domain.Group{ID: "a", Version: 1}, Members: []domain.Membership{{User: "v", Role: domain.Member}},
		}))
		_, loaded, err := e.store.Roles(t.Context(), "a", []string{"v"})
		require.NoError(t, err)
		require.False(t, loaded)
		outcome, err := e.store.Signal(t.Context(), domain.Signal{Group: "a", From: "v", Kind: "typing"})
		require.NoError(t, err)
		require.Equal(t, domain.SignalOutcome{Missing: domain.MissingGeneration, Partition: p, Gen: 1}, outcome)
	})
}

func TestAReadMarkThatIsSetWhileAGenerationBeginsIsSetAgain(t *testing.T) {
	for name, closed := range map[string]bool{"Redis is in another": false, "the reply comes late": true} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				e.sent(t, 5, "a")
				j, p := e.journaled(), e.cfg.Partitions.Of("a")
				e.store.UseGenerations(renewing{generationsOf{e}, t, j})
				hook := &afterReply{}
				e.store.rdb.AddHook(hook)
				if closed {
					hook.set(func() { e.begins(t, j, p, 2) })
				} else {
					require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
				}
				mark, err := e.store.MarkRead(t.Context(), "a", "v", 3, 0, nil)
				require.NoError(t, err)
				require.Equal(t, int64(3), mark)
				dirty, err := e.store.DirtyMarks(t.Context(), domain.LogRange{Partition: p, Gen: 2})
				require.NoError(t, err)
				require.Equal(t, map[domain.GroupUser]int64{{Group: "a", User: "v"}: 3}, dirty)
				u, err := j.All(p)
				require.NoError(t, err)
				require.Equal(t, map[domain.GroupUser]domain.ReadMark{{Group: "a", User: "v"}: {Gen: 2, Seq: 3}}, u.Marks)
			})
		})
	}
}

func TestWhatIsAcceptedIsKeptUntilTheWatermark(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		j := e.journaled()
		r := e.recovery(group("a", domain.Private, "u"))
		s := e.sender(t, r, AppendConfig{})
		draft := domain.Draft{Group: "a", From: "u", Body: text("x"), ClientID: "c", Mentions: []string{"v"}}
		first := s.must(t, draft)
		s.refused(t, domain.CodeNotMember, domain.Draft{Group: "a", From: "stranger"})
		require.True(t, s.must(t, draft).Duplicate)
		require.Equal(t, []int64{first.Seq}, heldBy(t, j, "a"))
		entries := e.logged(t, "a")
		u, err := j.All(e.cfg.Partitions.Of("a"))
		require.NoError(t, err)
		want := entries[0].Message
		want.GroupType = ""
		require.Equal(t, []domain.Message{want}, u.Messages, "as the log has it")

		e.commit(t, "a", entries)
		j.Committed("a", first.Gen, first.Seq)
		require.True(t, s.must(t, draft).Duplicate)
		require.Empty(t, heldBy(t, j, "a"), "MySQL has it")
	})
}

// The answer is on its way when the generation ends: what the journal wrote lacks it.
func TestAReplyOfAGenerationThatEndsIsNotBelieved(t *testing.T) {
	for name, clientID := range map[string]string{"with a client_id": "c", "without one": ""} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				j, p := e.journaled(), e.cfg.Partitions.Of("a")
				r := e.recovery(group("a", domain.Room))
				s := e.sender(t, r, AppendConfig{})
				s.must(t, domain.Draft{Group: "a", From: "u"})
				r.mu.Lock()
				r.seeds["a"] = domain.Seed{Start: 1000}
				r.mu.Unlock()
				r.onRenew = func(ctx context.Context, p int, seen int64) error {
					require.Equal(t, int64(1), seen)
					e.gens[p].Store(2)
					return nil
				}
				hook := &afterReply{}
				hook.set(func() { // another instance has begun the next one, and this one's heartbeat has heard of it
					e.raiseRedis(t, p, 2)
					_, err := j.Close(p, 2)
					require.NoError(t, err)
				})
				e.store.appends.AddHook(hook)
				draft := domain.Draft{Group: "a", From: "u", ClientID: clientID, Body: text("x")}
				if clientID == "" {
					s.refused(t, domain.CodeUnavailable, draft)
					require.Empty(t, heldBy(t, j, "a")[1:])
					return
				}
				got := s.must(t, draft)
				require.Equal(t, domain.Accepted{Group: "a", Gen: 2, Seq: 1001, TimeMS: got.TimeMS, PersistedSeq: 1000}, got)
				require.Equal(t, []int64{1, 1001}, heldBy(t, j, "a"))
			})
		})
	}
}

func TestARefusalOfAGenerationThatEndsIsNotBelieved(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		j, p := e.journaled(), e.cfg.Partitions.Of("a")
		r := e.recovery(group("a", domain.Private, "v"))
		s := e.sender(t, r, AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "v"})
		r.mu.Lock()
		r.groups["a"] = group("a", domain.Private, "u", "v") // an old master does not know of it
		r.mu.Unlock()
		r.onRenew = func(context.Context, int, int64) error {
			e.gens[p].Store(2)
			return nil
		}
		hook := &afterReply{}
		hook.set(func() {
			e.raiseRedis(t, p, 2)
			_, err := j.Close(p, 2)
			require.NoError(t, err)
		})
		e.store.appends.AddHook(hook)
		require.Equal(t, int64(2), s.must(t, domain.Draft{Group: "a", From: "u"}).Gen)
	})
}

// A repeat comes between the two steps of a seed: the first send is brought over, its group has no seq yet. Of an answer
// without the watermark the journal would think that MySQL lacks the message.
func TestARepeatWaitsForTheSeedOfItsGroup(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		j, p := e.journaled(), e.cfg.Partitions.Of("a")
		r := e.recovery(group("a", domain.Room))
		require.NoError(t, r.load(t.Context(), "a"))
		draft := domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("x")}
		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		seed := domain.Seed{Start: 1000, Recent: []domain.RecentSend{{
			Dedupe: domain.DedupeID("a", "u", "c"), Seq: 5, TimeMS: now, Hash: domain.ContentHash(draft.Body, nil, 0),
		}}}
		require.NoError(t, e.store.rememberSends(t.Context(), p, 1, map[string]domain.Seed{"a": seed}))
		r.seeds["a"] = seed
		s := e.sender(t, r, AppendConfig{})
		got := s.must(t, draft)
		require.Equal(t, domain.Accepted{Group: "a", Gen: 1, Seq: 5, TimeMS: now, Duplicate: true, PersistedSeq: 1000}, got)
		require.Empty(t, heldBy(t, j, "a"))
		require.Equal(t, []string{"seed 1 a"}, r.made())
	})
}

// MySQL had not got them when the seed of the group was made.
func TestARepeatOfASendThatCameLateIsKnown(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		r.seeds["a"] = domain.Seed{Start: 1000}
		s := e.sender(t, r, AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		repeated := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "repeated", Body: text("x")})
		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		var late []domain.RecentSend
		for i, id := range []string{"late", "repeated", "old"} {
			late = append(late, domain.RecentSend{
				Dedupe: domain.DedupeID("a", "u", id), Seq: int64(i + 5), TimeMS: now, Hash: domain.ContentHash(text("x"), nil, 0),
			})
		}
		late[2].TimeMS -= domain.DedupeWindow.Milliseconds() + 1
		require.NoError(t, e.store.RememberSends(t.Context(), map[string][]domain.RecentSend{"a": late}))
		for id, want := range map[string]int64{"late": 5, "repeated": repeated.Seq} {
			got := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: id, Body: text("x")})
			require.Equal(t, want, got.Seq, id)
			require.True(t, got.Duplicate, id)
		}
		require.False(t, s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "old", Body: text("x")}).Duplicate)
	})
}

func TestTheSubscriberDoubtsOnANewGenerationAndANewConnection(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		l := &listener{confirmed: make(map[string]int), notes: make(map[string]int)}
		s := NewSubscriber(e.store, l, "i1#0", zerolog.Nop(), prometheus.NewRegistry())
		doubts := make(chan struct{}, 100)
		s.OnDoubt(func() { doubts <- struct{}{} })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
		})
		doubted := func(why string) {
			t.Helper()
			until(t, why, func() bool { return len(doubts) > 0 })
			for len(doubts) > 0 {
				<-doubts
			}
		}
		doubted("the first connection")
		s.Subscribe([]string{"a"})
		until(t, "confirmation", func() bool { return l.confirmations("a") > 0 })
		e.raiseRedis(t, 7, 2)
		doubted("generation 2 begins")
		e.raiseRedis(t, 7, 2)
		require.NoError(t, e.store.rdb.Publish(t.Context(), persistedChannel(7), "2 x 5").Err())
		until(t, "a watermark", func() bool { return len(l.marks()) > 0 })
		require.Empty(t, doubts, "it was there, nothing begins")

		confirmed := l.confirmations("a")
		if e.mini != nil {
			e.mini.Close()
			require.NoError(t, e.mini.Restart())
		} else {
			require.NoError(t, e.store.rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
		}
		doubted("a new connection")
		until(t, "confirmation", func() bool { return l.confirmations("a") > confirmed })
	})
}

// Of two sends of a group one waits for its seed, and the refusal of the other is not believed: a rate may let it pass by
// the time it goes again, and it must not overtake the first.
func TestWhatIsPutBackForTwoReasonsKeepsItsOrder(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	j, p := e.journaled(), e.cfg.Partitions.Of("a")
	s := idleSender(e.store, e.recovery(group("a", domain.Room)), AppendConfig{}, zerolog.Nop())
	for _, id := range []string{"first", "second"} {
		s.post(domain.Draft{Group: "a", From: "u", ClientID: id})
	}
	calls, late := s.take(time.Now())
	require.Empty(t, late)
	require.Len(t, calls, 1)
	calls[0].cmd = redis.NewCmd(t.Context())
	calls[0].cmd.SetVal([]any{"RESEED", "GROUP_RATE 5"})
	_, err := j.Close(p, 2)
	require.NoError(t, err)
	require.NoError(t, s.settle(t.Context(), calls[0]))
	s.jobs.Wait()
	var order []string
	for _, send := range s.queues[p].sends {
		order = append(order, send.ClientID)
	}
	require.Equal(t, []string{"first", "second"}, order)
	require.Empty(t, s.queues[p].held)
	require.Equal(t, 2, s.queued)
}

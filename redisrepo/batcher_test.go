package redisrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// seqs awaits sends that have to be accepted and gives their seqs.
func seqs(t *testing.T, answers []<-chan result) []int64 {
	t.Helper()
	var seqs []int64
	for _, answer := range answers {
		r := await(t, answer)
		require.NoError(t, r.err)
		seqs = append(seqs, r.Seq)
	}
	return seqs
}

// A group that is being loaded, then seeded, keeps its sends in their order; others of its partition pass.
func TestGroupInRecoveryHoldsItsOwnSendsOnly(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := groupsIn(5, 2)
		slow, fast := groups[0], groups[1]
		r := e.recovery(group(slow, domain.Room), group(fast, domain.Room))
		gate := make(chan struct{})
		pass := func(ctx context.Context) {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		r.onLoad = func(ctx context.Context, g string) error {
			if g == slow {
				pass(ctx)
			}
			return r.load(ctx, g)
		}
		r.onSeed = func(ctx context.Context, gen int64, groups []string) error {
			if slices.Contains(groups, slow) {
				pass(ctx)
			}
			return r.seed(ctx, 5, gen, groups)
		}
		s := e.sender(t, r, AppendConfig{})
		s.must(t, domain.Draft{Group: fast, From: "u"})
		var held []<-chan result
		for _, step := range []string{"load " + slow, "seed 1 " + slow} {
			for range 3 {
				held = append(held, s.post(domain.Draft{Group: slow, From: "u"}))
			}
			until(t, step, func() bool { return slices.Contains(r.made(), step) })
			for range 3 {
				held = append(held, s.post(domain.Draft{Group: slow, From: "u"}))
				s.must(t, domain.Draft{Group: fast, From: "u"})
			}
			gate <- struct{}{}
		}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, seqs(t, held))
		want := []string{"load " + fast, "seed 1 " + fast, "load " + slow, "seed 1 " + slow}
		require.Equal(t, want, r.made(), "one flight a group and step")
	})
}

func TestManyGroupsAreSeededInOneCall(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := groupsIn(5, 20)
		r := e.recovery()
		for i, g := range groups {
			r.groups[g] = group(g, domain.Room)
			r.seeds[g] = domain.Seed{Start: int64(i * 100)}
			require.NoError(t, r.load(t.Context(), g))
		}
		s := idleSender(e.store, r, AppendConfig{}, zerolog.Nop())
		var answers []<-chan result
		for _, g := range groups { // queued before Run: they go together
			answers = append(answers, s.post(domain.Draft{Group: g, From: "u"}))
		}
		s.run(t)
		for i, seq := range seqs(t, answers) {
			require.Equal(t, int64(i*100+1), seq)
		}
		slices.Sort(groups)
		require.Equal(t, []string{"seed 1 " + strings.Join(groups, " ")}, r.made())
	})
}

// A recovery that fails for good (no such group) answers its group's sends; one that may pass is repeated until it
// works or their deadline comes. Other groups go on.
func TestFailedRecoveryConcernsItsGroupOnly(t *testing.T) {
	groups := groupsIn(5, 2)
	bad, good := groups[0], groups[1]
	unavailable := domain.Unavailable(errors.New("connection refused"), "MySQL")
	cases := map[string]struct {
		load, seed error
		passes     bool // in time
		want       domain.Code
	}{
		"no such group":                 {load: domain.Errorf(domain.CodeNotFound, "there is no such group"), want: domain.CodeNotFound},
		"MySQL away at load":            {load: unavailable, want: domain.CodeUnavailable},
		"MySQL away at seed":            {seed: unavailable, want: domain.CodeUnavailable},
		"MySQL away at load for a time": {load: unavailable, passes: true},
		"MySQL away at seed for a time": {seed: errors.New("not ours"), passes: true},
	}
	eachRedis(t, func(t *testing.T, e *env) {
		for name, c := range cases {
			e.raise(t, e.gens[5].Load()+1) // forgets the seeds
			r := e.recovery(group(bad, domain.Room), group(good, domain.Room))
			var failures, passed atomic.Int64
			fail := func(err error) error {
				if err == nil || passed.Load() > 0 {
					return nil
				}
				failures.Add(1)
				return err
			}
			r.onLoad = func(ctx context.Context, g string) error {
				if err := fail(c.load); g == bad && err != nil {
					return err
				}
				return r.load(ctx, g)
			}
			r.onSeed = func(ctx context.Context, gen int64, groups []string) error {
				if slices.Contains(groups, bad) {
					if err := fail(c.seed); err != nil {
						return err
					}
				}
				return r.seed(ctx, 5, gen, groups)
			}
			s := e.sender(t, r, AppendConfig{})
			s.must(t, domain.Draft{Group: good, From: "u"})
			failures.Store(0)
			var held []<-chan result
			for range 3 {
				held = append(held, s.post(domain.Draft{Group: bad, From: "u"}))
			}
			if c.want != domain.CodeNotFound {
				until(t, "a second try", func() bool { return failures.Load() >= 2 })
			}
			s.must(t, domain.Draft{Group: good, From: "u"})
			if c.passes {
				passed.Store(1)
				require.Equal(t, []int64{1, 2, 3}, seqs(t, held), name)
			} else {
				until(t, "the answers", func() bool {
					if c.want == domain.CodeUnavailable {
						s.expire()
					}
					return len(held[0]) == 1 && len(held[1]) == 1 && len(held[2]) == 1
				})
				for _, answer := range held {
					require.Equal(t, c.want, domain.CodeOf(await(t, answer).err), name)
				}
			}
			s.must(t, domain.Draft{Group: good, From: "u"})
			s.stop()
			require.Zero(t, s.queued)
		}
	})
}

func TestStaleGenerationIsRenewedOnceAndSendsKeepTheirOrder(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := groupsIn(5, 2)
		r := e.recovery(group(groups[0], domain.Room), group(groups[1], domain.Room))
		gate := make(chan struct{})
		r.onRenew = func(ctx context.Context, p int, _ int64) error {
			<-gate
			return r.renew(ctx, p)
		}
		s := e.sender(t, r, AppendConfig{})
		old := s.must(t, domain.Draft{Group: groups[0], From: "u", ClientID: "c"})
		require.Equal(t, int64(1), old.Gen)
		e.raiseRedis(t, 5, 2)

		var answers [2][]<-chan result
		post := func(n int) {
			for i := range n {
				answers[i%2] = append(answers[i%2], s.post(domain.Draft{Group: groups[i%2], From: "u"}))
			}
		}
		post(10)
		until(t, "renewal", func() bool { return slices.Contains(r.made(), "renew 1") })
		post(10)
		other := s.post(domain.Draft{Group: groupsIn(6, 1)[0], From: "u"})
		require.Equal(t, domain.CodeNotFound, domain.CodeOf(await(t, other).err), "other partitions are asked meanwhile")
		close(gate)
		for g := range answers {
			require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, seqs(t, answers[g]), "of the new generation")
		}
		renewals := slices.DeleteFunc(r.made(), func(call string) bool { return !strings.HasPrefix(call, "renew") })
		require.Equal(t, []string{"renew 1"}, renewals)
		require.Equal(t, int64(2), s.must(t, domain.Draft{Group: groups[0], From: "u"}).Gen)
	})
}

func TestSendsThatWaitForAGenerationEndAtTheirDeadline(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		r.onRenew = func(context.Context, int, int64) error {
			return domain.Unavailable(errors.New("secret"), "MySQL")
		}
		s := e.sender(t, r, AppendConfig{})
		e.raiseRedis(t, e.cfg.Partitions.Of("a"), 2)
		answers := []<-chan result{s.post(domain.Draft{Group: "a", From: "u"}), s.post(domain.Draft{Group: "a", From: "u"})}
		until(t, "renewals again and again", func() bool { return len(r.made()) >= 2 })
		s.expire()
		for _, answer := range answers {
			err := domain.AsError(await(t, answer).err)
			require.Equal(t, domain.CodeUnavailable, err.Code)
			require.NotContains(t, err.Message, "secret")
			require.ErrorContains(t, err.Err, "secret", "the cause is for the log")
		}
	})
}

// expire makes everything that is queued late.
func (a *Appender) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.queues {
		for _, s := range a.queues[p].sends {
			s.deadline = time.Now()
		}
	}
}

// The worst moment: the send happened, its answer is lost.
func TestSendWhoseReplyIsLostIsStoredOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for name, clientID := range map[string]string{"own id": "c", "internal id": ""} {
			p := testserver.NewProxy(t, e.addr)
			e.raise(t, e.gens[0].Load()+1)
			store := e.open(t, p.Addr())
			r := e.recovery(group("a", domain.Room))
			s := newSender(t, store, r, AppendConfig{})
			s.must(t, domain.Draft{Group: "a", From: "u"})
			heard := e.subscribe(t, e.store, "a")
			var lost atomic.Int64
			p.Keep(func(reply []byte) bool {
				return !bytes.Contains(reply, []byte("OK 2")) || lost.Add(1) > 1
			})
			got := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: clientID})
			require.Equal(t, int64(1), lost.Load(), name)
			require.Equal(t, int64(2), got.Seq, name)
			if clientID == "" {
				require.False(t, got.Duplicate, "nobody repeated it but we")
			}
			require.Len(t, e.logged(t, "a"), 2, name)
			require.Equal(t, int64(3), s.must(t, domain.Draft{Group: "a", From: "u"}).Seq, name)
			until(t, "pushes", func() bool { return len(heard.pushed()) == 2 })
			require.NotContains(t, strings.Join(r.made(), "\n"), "renew", "a cut connection does not mean another server")
		}
	})
}

// Stored or not, the server that knew is another one: only a client_id tells, by what MySQL remembers.
func TestSendWhoseReplyIsLostWithItsGeneration(t *testing.T) {
	for name, clientID := range map[string]string{"own id": "c", "internal id": ""} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				p := testserver.NewProxy(t, e.addr)
				r := e.recovery(group("a", domain.Room))
				s := newSender(t, e.open(t, p.Addr()), r, AppendConfig{})
				s.must(t, domain.Draft{Group: "a", From: "u"})
				identity := e.identity(t)
				var lost atomic.Int64
				p.Keep(func(reply []byte) bool {
					if !bytes.Contains(reply, []byte("OK 2")) || lost.Add(1) > 1 {
						return true
					}
					_, _ = e.store.SetGeneration(context.Background(), e.cfg.Partitions.Of("a"), 2, identity) // shows below
					return false
				})
				draft := domain.Draft{Group: "a", From: "u", ClientID: clientID, Body: text("x")}
				remembered := domain.RecentSend{Dedupe: domain.DedupeID("a", "u", "c"), Seq: 2, TimeMS: time.Now().UnixMilli(), Hash: domain.ContentHash(draft.Body, nil, 0)}
				r.mu.Lock()
				r.seeds["a"] = domain.Seed{Start: 1000, Recent: []domain.RecentSend{remembered}}
				r.mu.Unlock()
				if clientID == "" {
					s.refused(t, domain.CodeUnavailable, draft)
				} else {
					got := s.must(t, draft)
					require.Equal(t, []any{int64(2), true}, []any{got.Seq, got.Duplicate})
				}
				require.Equal(t, int64(1), lost.Load())
				require.Empty(t, e.logged(t, "a"), "nothing of it in the new generation")
				require.Equal(t, int64(1001), s.must(t, domain.Draft{Group: "a", From: "u"}).Seq)
			})
		})
	}
}

func TestSendInFlightToAFrozenRedisIsAskedAgain(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	var log syncBuffer
	s := idleSender(e.store, e.recovery(group("a", domain.Room)), AppendConfig{}, zerolog.New(&log))
	s.run(t)
	s.must(t, domain.Draft{Group: "a", From: "u"})
	require.NoError(t, e.server.Pause())
	answers := []<-chan result{s.post(domain.Draft{Group: "a", From: "u"})}
	until(t, "the first try to end", func() bool { return bytes.Contains(log.bytes(), []byte("appends fail")) })
	for range 5 {
		answers = append(answers, s.post(domain.Draft{Group: "a", From: "u"}))
	}
	require.NoError(t, e.server.Resume())
	require.Equal(t, []int64{2, 3, 4, 5, 6, 7}, seqs(t, answers))
	require.Len(t, e.logged(t, "a"), 7)
}

func TestSendToAFrozenRedisIsUnavailableAtItsDeadline(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	require.NoError(t, e.server.Pause())
	start := time.Now()
	s.refused(t, domain.CodeUnavailable, domain.Draft{Group: "a", From: "u", ClientID: "c"})
	require.Less(t, time.Since(start), sendDeadline+flightTimeout+time.Second)
	require.NoError(t, e.server.Resume())
	again := s.must(t, domain.Draft{Group: "a", From: "u", ClientID: "c"})
	require.Equal(t, int64(2), again.Seq, "the same client_id tells whether it was stored")
	require.Len(t, e.logged(t, "a"), 2)
}

func TestRestartedRedisIsAnotherServer(t *testing.T) {
	t.Parallel()
	e := newReal(t, "--appendonly", "yes", "--appendfsync", "always")
	r := e.recovery(group("a", domain.Room))
	r.seeds["a"] = domain.Seed{}
	s := e.sender(t, r, AppendConfig{})
	before := s.must(t, domain.Draft{Group: "a", From: "u"})
	was, err := e.store.Observe(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, e.server.Restart())
	is, err := e.store.Observe(t.Context(), 0)
	require.NoError(t, err)
	require.NotEqual(t, was.Identity, is.Identity)
	require.Equal(t, domain.Observed{Gen: 1, Server: was.Server, Identity: is.Identity}, is, "it kept its data")

	r.seeds["a"] = domain.Seed{Start: 1_000_001, Holes: domain.Holes{{From: 2, To: 1_000_001, Reason: domain.HoleLost}}}
	after := s.must(t, domain.Draft{Group: "a", From: "u"})
	require.Equal(t, int64(2), after.Gen)
	require.Equal(t, int64(1_000_002), after.Seq)
	require.GreaterOrEqual(t, after.TimeMS, before.TimeMS)
	require.Equal(t, r.seeds["a"].Holes, e.head(t, "", "a").Holes)
	renewals := slices.DeleteFunc(r.made(), func(call string) bool { return !strings.HasPrefix(call, "renew") })
	require.Equal(t, []string{"renew 1"}, renewals)
	p := e.cfg.Partitions.Of("a")
	older, err := e.store.OlderGenerations(t.Context(), p, 2)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, older)
	left, err := e.store.ReadLogs(t.Context(), []domain.LogRange{{Partition: p, Gen: 1}}, 10)
	require.NoError(t, err)
	require.Len(t, left[0], 1, "what it had accepted is still to be drained")
}

// run_id and connections survive a demotion; the replication id does not.
func TestDemotedAndPromotedRedisIsAnotherServer(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	r := e.recovery(group("a", domain.Room))
	s := e.sender(t, r, AppendConfig{})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	require.NoError(t, e.store.rdb.SlaveOf(t.Context(), "127.0.0.1", "1").Err())
	answer := s.post(domain.Draft{Group: "a", From: "u", ClientID: "c"})
	until(t, "READONLY to be looked into", func() bool { return slices.Contains(r.made(), "renew 1") })
	require.NoError(t, e.store.rdb.SlaveOf(t.Context(), "NO", "ONE").Err())
	got := await(t, answer)
	require.NoError(t, got.err)
	require.Equal(t, int64(2), got.Gen)
}

func TestEmptiedRedisIsStale(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		s := e.sender(t, r, AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		require.Equal(t, int64(2), s.must(t, domain.Draft{Group: "a", From: "u"}).Gen)
		require.Equal(t, []string{"load a", "seed 1 a", "renew 1", "load a", "seed 2 a"}, r.made())
	})
}

func TestServerThatAnswersWithAnErrorIsLookedAt(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	r := e.recovery(group("a", domain.Room))
	s := e.sender(t, r, AppendConfig{})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	e.mini.SetError("LOADING Redis is loading the dataset in memory")
	answer := s.post(domain.Draft{Group: "a", From: "u"})
	until(t, "renewal", func() bool { return slices.Contains(r.made(), "renew 1") })
	e.mini.SetError("")
	require.Equal(t, int64(2), seqs(t, []<-chan result{answer})[0])
}

func TestQueueHoldsSoManySends(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := idleSender(e.store, e.recovery(), AppendConfig{}, zerolog.Nop())
		answers := make([]atomic.Int64, maxQueued)
		for i := range maxQueued {
			s.Append(domain.Append{Draft: domain.Draft{Group: fmt.Sprint("g", i%50), From: "u"}, Dedupe: fmt.Sprint(i), Hash: "00"},
				func(domain.Accepted, error) { answers[i].Add(1) })
		}
		err := s.refused(t, domain.CodeOverloaded, domain.Draft{Group: "a", From: "u"})
		require.Positive(t, err.RetryAfter)
		for i := range answers {
			require.Zero(t, answers[i].Load())
		}
		s.run(t)
		s.stop()
		for i := range answers {
			require.Equal(t, int64(1), answers[i].Load(), "send %d at the end", i)
		}
		s.refused(t, domain.CodeUnavailable, domain.Draft{Group: "a", From: "u"})
	})
}

func TestShutdownAnswersEverySendOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room), group("b", domain.Room)), AppendConfig{})
		s.must(t, domain.Draft{Group: "a", From: "u"})
		var wg sync.WaitGroup
		var answers [8][]<-chan result
		started := make(chan struct{}, 1)
		for c := range answers {
			wg.Go(func() {
				for i := range 100 {
					answers[c] = append(answers[c], s.post(domain.Draft{Group: []string{"a", "b", "none"}[i%3], From: "u"}))
					select {
					case started <- struct{}{}:
					default:
					}
				}
			})
		}
		<-started
		s.stop()
		wg.Wait()
		stored := make(map[string]bool)
		for _, g := range []string{"a", "b"} {
			for _, entry := range e.logged(t, g) {
				stored[fmt.Sprint(entry.Group, entry.Seq)] = true
			}
		}
		for c := range answers {
			for _, answer := range answers[c] {
				r := await(t, answer)
				if r.err == nil {
					require.True(t, stored[fmt.Sprint(r.Group, r.Seq)], "accepted and not stored: %+v", r.Accepted)
				} else {
					require.Contains(t, []domain.Code{domain.CodeUnavailable, domain.CodeNotFound}, domain.CodeOf(r.err))
				}
				require.Empty(t, answer, "a second answer")
			}
		}
	})
}

// What is queued at the end still goes, if it goes at once.
func TestShutdownSendsWhatIsQueued(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room))
		require.NoError(t, r.load(t.Context(), "a"))
		require.NoError(t, r.seed(t.Context(), e.cfg.Partitions.Of("a"), 1, []string{"a"}))
		s := idleSender(e.store, r, AppendConfig{}, zerolog.Nop())
		var answers []<-chan result
		n := 2*maxCallSends + 50
		if e.mini != nil {
			n = 20 // it is slow, and the end has flightTimeout
		}
		for range n {
			answers = append(answers, s.post(domain.Draft{Group: "a", From: "u"}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, s.Run(ctx))
		require.Len(t, seqs(t, answers), n)
	})
}

func TestWordsThatNoScriptSays(t *testing.T) {
	t.Parallel()
	s := &pendingSend{}
	for _, reply := range []string{"", "WHAT", "OK", "OK 1", "OK 1 2", "OK 1 2 x", "DUP a 2 3"} {
		_, err := outcome(reply, s, 1)
		require.Equal(t, domain.CodeInternal, domain.CodeOf(err), reply)
	}
}

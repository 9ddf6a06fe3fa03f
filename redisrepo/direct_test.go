package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

const ab = "dm:ann:bob"

func direct(id string) *domain.GroupSnapshot {
	lower, higher, _ := domain.SplitDirect(id)
	return group(id, domain.Direct, lower, higher)
}

func to(id, from string) domain.Draft { return domain.Draft{Group: id, From: from} }

func TestStrangerWaitsAfterTheLimitUntilTheOtherSideWrites(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		// Ids that start or end alike, and such as mean something to Lua's patterns.
		for _, id := range []string{ab, "dm:a:a.", "dm:a-:a-b", "dm:b:b@b"} {
			lower, higher, _ := domain.SplitDirect(id)
			for _, pair := range [][2]string{{lower, higher}, {higher, lower}} {
				stranger, other := pair[0], pair[1]
				e.raise(t, e.gens[0].Load()+1)
				s := e.sender(t, e.recovery(direct(id)), AppendConfig{StrangerLimit: 3})
				for range 3 {
					s.must(t, to(id, stranger))
				}
				err := s.refused(t, domain.CodeStrangerLimit, to(id, stranger))
				require.Equal(t, "wait until the other side has written", err.Message)
				for range 2 {
					s.refused(t, domain.CodeStrangerLimit, to(id, stranger))
				}
				s.must(t, to(id, other))
				for i := range 5 {
					require.Equal(t, int64(5+2*i), s.must(t, to(id, stranger)).Seq, "what was refused took no seq")
					s.must(t, to(id, other))
				}
			}
		}
	})
}

func TestStrangerLimitCountsAUsersAcceptedMessagesOnly(t *testing.T) {
	server := to(ab, "ann")
	server.Operator = "key"
	once := to(ab, "ann")
	once.ClientID = "c"
	answer := to(ab, "bob")
	answer.Operator = "key"
	system := to(ab, domain.SystemUser)
	system.Operator = "key"
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(direct(ab)), AppendConfig{StrangerLimit: 2})
		for range 3 {
			s.must(t, server)
		}
		s.must(t, once)
		for range 3 {
			require.True(t, s.must(t, once).Duplicate)
			refused := to(ab, "ann")
			refused.ReplyTo = 1000
			s.refused(t, domain.CodeBadRequest, refused)
			s.refused(t, domain.CodeNotMember, to(ab, "eve"))
		}
		s.must(t, to(ab, "ann"))
		s.refused(t, domain.CodeStrangerLimit, to(ab, "ann"))
		require.True(t, s.must(t, once).Duplicate, "a repeat is told its first result, also over the limit")
		s.must(t, server)
		s.must(t, answer)
		s.must(t, system)
		s.refused(t, domain.CodeStrangerLimit, to(ab, "ann"))
		s.must(t, to(ab, "bob"))
		s.must(t, to(ab, "ann"))
	})
}

func TestStrangerLimitHoldsInDirectConversationsOnly(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("room", domain.Room), group("team", domain.Private, "ann"), direct(ab))
		s := e.sender(t, r, AppendConfig{StrangerLimit: 1})
		for _, id := range []string{"room", "team"} {
			for range 3 {
				s.must(t, to(id, "ann"))
			}
		}
		off := e.sender(t, r, AppendConfig{})
		for range 3 {
			off.must(t, to(ab, "ann"))
		}
		s.refused(t, domain.CodeStrangerLimit, to(ab, "ann"))
	})
}

// The rates are asked after the stranger limit: what it refuses spends none.
func TestStrangerLimitSpendsNoRate(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	s := e.sender(t, e.recovery(direct(ab)), AppendConfig{StrangerLimit: 1, UserRate: 0.001, UserBurst: 2, GroupRate: 1000})
	s.must(t, to(ab, "ann"))
	for range 5 {
		s.refused(t, domain.CodeStrangerLimit, to(ab, "ann"))
	}
	s.must(t, to(ab, "bob"))
	s.must(t, to(ab, "ann"))
	s.refused(t, domain.CodeRateLimited, to(ab, "ann"))
}

// In one script call, in several, from two instances: each side gets what the limit and the order allow, no more.
func TestStrangerLimitHoldsForBothSidesAtOnce(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(direct(ab))
		cfg := AppendConfig{StrangerLimit: 3}
		senders := []*sender{e.sender(t, r, cfg), newSender(t, e.open(t, e.addr), r, cfg)}
		post := func(users ...string) (accepted int) {
			answers := make([]<-chan result, 20)
			var wg sync.WaitGroup
			for i := range answers {
				wg.Go(func() { answers[i] = senders[i%2].post(to(ab, users[i/2%len(users)])) })
			}
			wg.Wait()
			for _, answer := range answers {
				if got := await(t, answer); got.err == nil {
					accepted++
				} else {
					require.Equal(t, domain.CodeStrangerLimit, domain.CodeOf(got.err))
				}
			}
			return accepted
		}
		require.Equal(t, 3, post("ann"), "alone, and no more")
		require.GreaterOrEqual(t, post("ann", "bob"), 10, "all of the other side's")
		require.Equal(t, 20, post("ann", "bob"), "both have written")
		sides := make(map[string]int)
		for i, entry := range e.logged(t, ab) {
			if sides["bob"] == 0 && entry.From == "ann" {
				require.Less(t, i, 3)
			}
			sides[entry.From]++
		}
	})
}

func TestSeedBringsTheCountsBack(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for name, c := range map[string]struct {
			sent     [2]int64 // of ann and of bob
			ann, bob int      // messages that go through before the other side writes; -1: as many as one likes
		}{
			"nothing":           {[2]int64{0, 0}, 3, 3},
			"ann wrote once":    {[2]int64{1, 0}, 2, -1},
			"bob is at it":      {[2]int64{0, 3}, -1, 0},
			"bob is far over":   {[2]int64{0, domain.MaxStrangerLimit}, -1, 0},
			"both have written": {[2]int64{1, 7}, -1, -1},
		} {
			for user, want := range map[string]int{"ann": c.ann, "bob": c.bob} {
				e.raise(t, e.gens[0].Load()+1)
				r := e.recovery(direct(ab))
				r.seeds[ab] = domain.Seed{Start: 100, Sent: c.sent}
				s := e.sender(t, r, AppendConfig{StrangerLimit: 3})
				if want < 0 {
					for range 5 {
						s.must(t, to(ab, user))
					}
					continue
				}
				for range want {
					s.must(t, to(ab, user))
				}
				got := await(t, s.post(to(ab, user)))
				require.Equal(t, domain.CodeStrangerLimit, domain.CodeOf(got.err), "%s: %s", name, user)
			}
		}
	})
}

// A second seed of the same generation, by another instance, does not take back what was counted since the first.
func TestLateSeedDoesNotResetTheCounts(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(direct(ab))
		s := e.sender(t, r, AppendConfig{StrangerLimit: 1})
		s.must(t, to(ab, "ann"))
		p := e.cfg.Partitions.Of(ab)
		require.NoError(t, r.seed(t.Context(), p, 1, []string{ab}))
		s.refused(t, domain.CodeStrangerLimit, to(ab, "ann"))
	})
}

func TestCountsEndWhereTheLimitDoes(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	r := e.recovery(direct(ab))
	r.seeds[ab] = domain.Seed{Sent: [2]int64{domain.MaxStrangerLimit - 1, 0}}
	s := e.sender(t, r, AppendConfig{})
	counts := func() string {
		return e.store.rdb.HGet(t.Context(), directKey(e.cfg.Partitions.Of(ab), 1), ab).Val()
	}
	for range 3 {
		s.must(t, to(ab, "ann"))
		require.Equal(t, fmt.Sprint(domain.MaxStrangerLimit, 0), counts())
	}
	for range 3 {
		s.must(t, to(ab, "bob"))
		require.Equal(t, fmt.Sprint(domain.MaxStrangerLimit, 1), counts())
	}
}

func TestForgottenGenerationTakesItsCountsAlong(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(direct(ab)), AppendConfig{})
		s.must(t, to(ab, "ann"))
		e.commit(t, ab, e.logged(t, ab))
		p := e.cfg.Partitions.Of(ab)
		require.Equal(t, int64(1), e.store.rdb.Exists(t.Context(), directKey(p, 1)).Val())
		e.raise(t, 2)
		require.NoError(t, e.store.ForgetGeneration(t.Context(), p, 1))
		require.Zero(t, e.store.rdb.Exists(t.Context(), directKey(p, 1)).Val())
	})
}

func TestFirstSendToAUserOpensTheConversation(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery()
		s := e.sender(t, r, AppendConfig{})
		s.refused(t, domain.CodeNotFound, to(ab, "ann"))
		var answers []<-chan result
		for range 10 {
			d := to(ab, "ann")
			d.Open = true
			answers = append(answers, s.post(d))
		}
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, seqs(t, answers), "in their order")
		require.Equal(t, []string{"load " + ab, "open " + ab, "seed 1 " + ab}, r.made())
		eve := to(ab, "eve")
		eve.Open = true
		s.refused(t, domain.CodeNotMember, eve)
		eve.Operator = "key"
		require.Equal(t, int64(11), s.must(t, eve).Seq, "app servers may, for anybody")
	})
}

// A send by id does not open; one by user that comes while the first is refused does.
func TestSendsBehindARefusedOneStillOpen(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery()
		asked, gate := make(chan struct{}), make(chan struct{})
		var first sync.Once
		r.onLoad = func(ctx context.Context, id string) error {
			first.Do(func() {
				asked <- struct{}{}
				<-gate
			})
			return r.load(ctx, id)
		}
		s := e.sender(t, r, AppendConfig{})
		byID := s.post(to(ab, "ann"))
		<-asked
		byUser := to(ab, "ann")
		byUser.Open = true
		opens := s.post(byUser)
		behind := s.post(to(ab, "ann"))
		close(gate)
		require.Equal(t, domain.CodeNotFound, domain.CodeOf(await(t, byID).err))
		require.Equal(t, domain.CodeNotFound, domain.CodeOf(await(t, behind).err))
		require.Equal(t, int64(1), await(t, opens).Seq)
		require.True(t, slices.Contains(r.made(), "open "+ab))
	})
}

// One send by user among those of a flight opens for all of them.
func TestOneSendToAUserOpensForItsFlight(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	r := e.recovery()
	s := idleSender(e.store, r, AppendConfig{}, zerolog.Nop())
	var answers []<-chan result
	for i := range 3 {
		d := to(ab, "ann")
		d.Open = i == 1
		answers = append(answers, s.post(d))
	}
	s.run(t)
	require.Equal(t, []int64{1, 2, 3}, seqs(t, answers))
	require.Equal(t, []string{"open " + ab, "seed 1 " + ab}, r.made())
}

// strangers names n conversations of u, in one partition or, with -1, in any.
func strangers(partition, n int) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		id := domain.DirectID("u", fmt.Sprint("t", i))
		if partition < 0 || domain.Partitions(testPartitions).Of(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

// postToAll sends from u to a user each, at once, and returns the conversations of those that were accepted.
func (s *sender) postToAll(t *testing.T, ids []string, change func(*domain.Draft)) (accepted []string) {
	t.Helper()
	answers := make([]<-chan result, len(ids))
	for i, id := range ids {
		d := to(id, "u")
		d.Open = true
		if change != nil {
			change(&d)
		}
		answers[i] = s.post(d)
	}
	for i, answer := range answers {
		got := await(t, answer)
		if got.err == nil {
			accepted = append(accepted, ids[i])
			continue
		}
		err := domain.AsError(got.err)
		require.Equal(t, domain.CodeRateLimited, err.Code)
		require.Positive(t, err.RetryAfter)
	}
	return accepted
}

func (r *recovery) opened() (ids []string) {
	for _, call := range r.made() {
		if id, ok := strings.CutPrefix(call, "open "); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestARefusedSendOpensNothing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for name, ids := range map[string][]string{
			"in one partition": strangers(3, 20), "over all partitions": strangers(-1, 100),
		} {
			r := e.recovery()
			s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 4})
			require.NoError(t, e.store.rdb.FlushDB(t.Context()).Err())
			e.raise(t, e.gens[0].Load()+1)
			accepted := s.postToAll(t, ids, nil)
			require.LessOrEqual(t, len(accepted), 4, name)
			require.NotEmpty(t, accepted, name)
			require.ElementsMatch(t, accepted, r.opened(), name)
			require.Empty(t, s.postToAll(t, strangers(-1, 120)[100:], nil), name)
			require.ElementsMatch(t, accepted, r.opened(), name)
			s.stop()
		}
	})
}

func TestWhoSpokeTooFastElsewhereOpensNothing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		room := groupsIn(3, 1)[0]
		r := e.recovery(group(room, domain.Room))
		s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 2})
		for range 2 {
			s.must(t, to(room, "u"))
		}
		s.refused(t, domain.CodeRateLimited, to(room, "u"))
		require.Empty(t, s.postToAll(t, strangers(3, 5), nil))
		require.Empty(t, r.opened())
		require.Len(t, s.postToAll(t, strangers(3, 10), func(d *domain.Draft) { d.Operator = "key" }), 10, "app servers have no rate")
	})
}

func TestALoadTakesAnOpeningSendsTurnAndTheAppendNoOther(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery()
		s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 3})
		ids := strangers(5, 4)
		require.Equal(t, ids[:3], s.postToAll(t, ids[:3], nil))
		require.Empty(t, s.postToAll(t, ids, nil))
	})
}

func TestWhoIsOverHisRateLoadsNothing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		rooms := groupsIn(5, 3)
		r := e.recovery(group(rooms[0], domain.Room), group(rooms[1], domain.Room), group(rooms[2], domain.Room))
		s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 2})
		for _, room := range rooms[:2] {
			s.must(t, to(room, "u"))
		}
		s.refused(t, domain.CodeRateLimited, to(rooms[2], "u"))
		require.NotContains(t, r.made(), "load "+rooms[2])
		s.must(t, to(rooms[2], "v"))
	})
}

func TestAnAnswerDoesNotOpenAConversation(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery()
		s := e.sender(t, r, AppendConfig{})
		answer := to(ab, "ann")
		answer.Open, answer.ReplyTo = true, 1
		err := s.refused(t, domain.CodeBadRequest, answer)
		require.Equal(t, "reply_to", err.Field)
		require.Empty(t, r.opened())
		first := to(ab, "ann")
		first.Open = true
		s.must(t, first)
		s.must(t, answer)
	})
}

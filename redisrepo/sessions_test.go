package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

func sessionOf(conn, user, instance, device string) domain.Session {
	return domain.Session{Conn: conn, User: user, Instance: instance, Device: device}
}

func (e *env) enter(t *testing.T, conn, user, instance, device string, policy domain.SessionPolicy) domain.Admission {
	t.Helper()
	a, err := e.store.Enter(t.Context(), sessionOf(conn, user, instance, device), policy)
	require.NoError(t, err)
	return a
}

// restore tells who was thought to be gone.
func (e *env) restore(t *testing.T, sessions ...domain.Session) (back []string) {
	t.Helper()
	back, err := e.store.Restore(t.Context(), sessions)
	require.NoError(t, err)
	return back
}

// leave tells whether it was the last one.
func (e *env) leave(t *testing.T, conn, user, instance string) bool {
	t.Helper()
	last, err := e.store.Leave(t.Context(), sessionOf(conn, user, instance, ""))
	require.NoError(t, err)
	return last
}

func (e *env) presence(t *testing.T, user string) domain.Presence {
	t.Helper()
	found, err := e.store.Presence(t.Context(), []string{user})
	require.NoError(t, err)
	require.Contains(t, found, user)
	return found[user]
}

// alive has instances announced.
func (e *env) alive(t *testing.T, instances ...string) {
	t.Helper()
	for _, instance := range instances {
		e.announce(t, instance, nil)
	}
}

// die lets instances fall silent.
func (e *env) die(t *testing.T, instances ...string) {
	t.Helper()
	for _, instance := range instances {
		require.NoError(t, e.store.rdb.Del(t.Context(), instanceKey(instance)).Err())
	}
}

// conns are the ids of the user's connections that Redis has, of dead instances too.
func (e *env) conns(t *testing.T, user string) []string {
	t.Helper()
	fields, err := e.store.rdb.HKeys(t.Context(), connsKey(e.cfg.Partitions.Of(user), user)).Result()
	require.NoError(t, err)
	slices.Sort(fields)
	return slices.DeleteFunc(fields, func(f string) bool { return f == seenField })
}

// opened sets when a connection was opened.
func (e *env) opened(t *testing.T, conn, user string, ms int64) {
	t.Helper()
	key := connsKey(e.cfg.Partitions.Of(user), user)
	value, err := e.store.rdb.HGet(t.Context(), key, conn).Result()
	require.NoError(t, err)
	_, rest, _ := strings.Cut(value, " ")
	require.NoError(t, e.store.rdb.HSet(t.Context(), key, conn, strconv.FormatInt(ms, 10)+" "+rest).Err())
}

// usersAt are the users on an instance, in all partitions.
func (e *env) usersAt(t *testing.T, instance string) (users []string) {
	t.Helper()
	for p := range testPartitions {
		members, err := e.store.rdb.SMembers(t.Context(), atKey(p, instance)).Result()
		require.NoError(t, err)
		users = append(users, members...)
	}
	slices.Sort(users)
	return users
}

// closed are the connections that were told to give way, in order.
func (e *env) closed(t *testing.T, user string) (conns []string) {
	t.Helper()
	for _, n := range e.since(t, user, "") {
		require.Equal(t, domain.NoteClose, n.Kind)
		require.Equal(t, domain.CloseReplaced, n.Code)
		require.Equal(t, "replaced by another login", n.Reason)
		conns = append(conns, n.Conn)
	}
	return conns
}

// many is n, and less on miniredis, which takes time for every key that has a TTL.
func (e *env) many(n int) int {
	if e.mini != nil {
		return n / 10
	}
	return n
}

// useSessions calls everything about sessions, notes and events, for users of all partitions.
func useSessions(t *testing.T, e *env) {
	t.Helper()
	ctx := t.Context()
	var users []string
	notes, last := make(map[string]domain.Note), make(map[string]string)
	var sessions []domain.Session
	for p := range testPartitions {
		for _, user := range groupsIn(p, 2) {
			users, last[user] = append(users, user), ""
			notes[user] = domain.Note{Kind: domain.NoteJoined, Group: "a", After: 1, Event: []byte("{}")}
			e.enter(t, "c1", user, "i", "ios", domain.SessionReplace)
			e.enter(t, "c2", user, "i", "ios", domain.SessionReplace)
			sessions = append(sessions, sessionOf("c3", user, "lost", ""))
		}
	}
	e.restore(t, sessions...)
	require.NoError(t, e.store.Tell(ctx, notes))
	told, err := e.store.Since(ctx, last)
	require.NoError(t, err)
	found, err := e.store.Presence(ctx, users)
	require.NoError(t, err)
	for _, user := range users {
		require.Len(t, told[user], 2)
		require.Equal(t, domain.Presence{Online: true, Devices: []string{"ios"}}, found[user])
		require.True(t, e.leave(t, "c2", user, "i"))
		require.Empty(t, e.conns(t, user))
	}
	e.restore(t, sessions...)
	e.alive(t, "lost")
	e.die(t, "lost")
	dead, err := e.store.DeadInstances(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"lost"}, dead)
	gone, err := e.store.Sweep(ctx, "lost")
	require.NoError(t, err)
	require.ElementsMatch(t, users, gone)
	require.NoError(t, e.store.ToGroups(ctx, users, "c", []byte("{}")))
	for _, user := range users {
		require.NoError(t, e.store.ToUser(ctx, user, "c", []byte("{}")))
	}
	require.NoError(t, e.store.Depart(ctx, "i"))
}

func TestAUserIsThereFromHisFirstSessionToHisLast(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		require.Equal(t, domain.Presence{}, e.presence(t, "u"))
		first := e.enter(t, "c1", "u", "i1", "ios", domain.SessionMulti)
		require.Equal(t, domain.Admission{LastNote: "0-0", First: true, OpenedMS: first.OpenedMS}, first)
		require.False(t, e.enter(t, "c2", "u", "i2", "web", domain.SessionMulti).First)
		require.False(t, e.enter(t, "c3", "u", "i2", "web", domain.SessionMulti).First)
		require.False(t, e.enter(t, "c4", "u", "i2", "", domain.SessionMulti).First)
		require.Equal(t, domain.Presence{Online: true, Devices: []string{"ios", "web"}}, e.presence(t, "u"))
		require.Equal(t, domain.Presence{}, e.presence(t, "v"), "another user")

		require.False(t, e.leave(t, "c1", "u", "i1"))
		require.Empty(t, e.usersAt(t, "i1"))
		require.False(t, e.leave(t, "c2", "u", "i2"))
		require.False(t, e.leave(t, "c3", "u", "i2"))
		require.Equal(t, []string{"u"}, e.usersAt(t, "i2"))
		require.True(t, e.leave(t, "c4", "u", "i2"))
		require.Empty(t, e.usersAt(t, "i2"))

		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		p := e.presence(t, "u")
		require.False(t, p.Online)
		require.InDelta(t, now, p.LastSeenMS, 20_000)
		require.True(t, e.enter(t, "c5", "u", "i1", "", domain.SessionMulti).First)
		require.Equal(t, domain.Presence{Online: true}, e.presence(t, "u"))
		e.die(t, "i1")
		require.Equal(t, domain.Presence{}, e.presence(t, "u"), "when he was last seen is from before he came")
	})
}

func TestPresenceHasEveryUserAskedFor(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		found, err := e.store.Presence(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, found)
		e.alive(t, "i1")
		var users []string
		for i := range 40 {
			users = append(users, fmt.Sprint("u", i))
			if i%2 == 0 {
				e.enter(t, "c", users[i], "i1", "", domain.SessionMulti)
			}
		}
		found, err = e.store.Presence(t.Context(), append(users, users...))
		require.NoError(t, err)
		require.Len(t, found, len(users))
		for i, user := range users {
			require.Equal(t, i%2 == 0, found[user].Online, user)
		}
	})
}

func TestSessionsOfUsersAreThoseOfLivingInstances(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1")
		e.enter(t, "c1", "u", "i1", "ios", domain.SessionMulti)
		e.enter(t, "c2", "u", "dead", "", domain.SessionMulti)
		e.opened(t, "c1", "u", 7)
		found, err := e.store.SessionsOf(t.Context(), []string{"u", "nobody"})
		require.NoError(t, err)
		require.Equal(t, map[string][]domain.Session{
			"u": {{Conn: "c1", User: "u", Device: "ios", Instance: "i1", OpenedMS: 7}},
		}, found)
	})
}

func TestMultiClosesTheOldest(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		for i := range domain.MaxSessions {
			e.enter(t, fmt.Sprint("c", i), "u", "i1", "", domain.SessionMulti)
		}
		require.Empty(t, e.closed(t, "u"))
		for i, ms := range []int64{50, 3, 90, 3, 1_700_000_000_000, 200, 1_000, 60, 70, 80} {
			e.opened(t, fmt.Sprint("c", i), "u", ms)
		}
		a := e.enter(t, "d", "u", "i2", "", domain.SessionMulti)
		require.Equal(t, "0-0", a.LastNote, "what it is told itself lies behind it")
		require.False(t, a.First)
		require.Equal(t, []string{"c1"}, e.closed(t, "u"), "of the oldest, the lower id")
		e.enter(t, "e", "u", "i2", "", domain.SessionMulti)
		e.enter(t, "f", "u", "i2", "", domain.SessionMulti)
		require.Equal(t, []string{"c1", "c3", "c0"}, e.closed(t, "u"))
		require.Len(t, e.conns(t, "u"), domain.MaxSessions)

		e.enter(t, "f", "u", "i2", "", domain.SessionMulti)
		require.Len(t, e.closed(t, "u"), 3, "it was there already")

		require.False(t, e.leave(t, "c1", "u", "i1"), "who gave way leaves, the others are there")
		require.Len(t, e.conns(t, "u"), domain.MaxSessions)
		require.Equal(t, []string{"u"}, e.usersAt(t, "i1"))
	})
}

// When it was opened is known where Redis is not: after a loss the oldest is the oldest still.
func TestASessionIsRestoredAsOldAsItIs(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1")
		before, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		a := e.enter(t, "c", "v", "i1", "", domain.SessionMulti)
		after, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, a.OpenedMS, before)
		require.LessOrEqual(t, a.OpenedMS, after)
		e.opened(t, "c", "v", 7)
		require.EqualValues(t, 7, e.enter(t, "c", "v", "i1", "", domain.SessionMulti).OpenedMS, "a repeat is as old as the first try")

		var sessions []domain.Session
		for i := range domain.MaxSessions {
			s := sessionOf(fmt.Sprint("c", i), "u", "i1", "")
			s.OpenedMS = a.OpenedMS - int64((i+3)%domain.MaxSessions) // c6 is the oldest, then c5
			sessions = append(sessions, s)
		}
		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		e.alive(t, "i1")
		e.restore(t, sessions...)
		e.enter(t, "d", "u", "i1", "", domain.SessionMulti)
		e.enter(t, "e", "u", "i1", "", domain.SessionMulti)
		require.Equal(t, []string{"c6", "c5"}, e.closed(t, "u"))
	})
}

func TestMultiClosesAsManyAsAreTooMany(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1")
		var many []domain.Session
		for i := range domain.MaxSessions + 5 {
			many = append(many, sessionOf(fmt.Sprintf("c%02d", i), "u", "i1", ""))
		}
		e.restore(t, many...)
		e.enter(t, "d", "u", "i1", "", domain.SessionMulti)
		require.Equal(t, []string{"c00", "c01", "c02", "c03", "c04", "c05"}, e.closed(t, "u"))
		require.Len(t, e.conns(t, "u"), domain.MaxSessions)
	})
}

func TestReplaceClosesTheSameDeviceClass(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		e.enter(t, "ios", "u", "i1", "ios", domain.SessionReplace)
		e.enter(t, "web", "u", "i1", "web", domain.SessionReplace)
		e.enter(t, "none", "u", "i1", "", domain.SessionReplace)
		require.Empty(t, e.closed(t, "u"))
		heard := e.hear(t, userChannel(e.cfg.Partitions.Of("u"), "u"))
		require.False(t, e.enter(t, "ios2", "u", "i2", "ios", domain.SessionReplace).First)
		require.Equal(t, "n", heard())
		require.Equal(t, []string{"ios"}, e.closed(t, "u"))
		e.enter(t, "none2", "u", "i2", "", domain.SessionReplace)
		require.Equal(t, []string{"ios", "none"}, e.closed(t, "u"))
		e.enter(t, "none2", "u", "i2", "", domain.SessionReplace)
		require.Equal(t, []string{"ios", "none"}, e.closed(t, "u"), "nobody replaces himself")

		require.Equal(t, e.since(t, "u", "")[1].ID, e.enter(t, "tv", "u", "i2", "tv", domain.SessionReplace).LastNote)
		require.Equal(t, []string{"ios2", "none2", "tv", "web"}, e.conns(t, "u"))
	})
}

func TestAReplacedSessionIsTheLastOnlyWhenNobodyIsLeft(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		e.enter(t, "c1", "u", "i1", "", domain.SessionReplace)
		e.enter(t, "c2", "u", "i2", "", domain.SessionReplace)
		require.False(t, e.leave(t, "c1", "u", "i1"))
		require.True(t, e.presence(t, "u").Online)
		require.Empty(t, e.usersAt(t, "i1"))

		e.enter(t, "c3", "u", "i1", "", domain.SessionReplace)
		require.True(t, e.leave(t, "c3", "u", "i1"))
		require.True(t, e.leave(t, "c2", "u", "i2"), "told twice rather than never")
	})
}

func TestRejectRefusesWhileAnotherLives(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		require.True(t, e.enter(t, "c1", "u", "i1", "ios", domain.SessionReject).First)
		_, err := e.store.Enter(t.Context(), sessionOf("c2", "u", "i2", "web"), domain.SessionReject)
		require.Equal(t, domain.CodeAlreadyOnline, domain.CodeOf(err))
		require.Equal(t, "you are connected elsewhere", domain.AsError(err).Message)
		require.Equal(t, []string{"c1"}, e.conns(t, "u"))
		require.Empty(t, e.usersAt(t, "i2"))
		require.False(t, e.leave(t, "c2", "u", "i2"), "who was refused is not there")
		require.True(t, e.enter(t, "c1", "u", "i1", "ios", domain.SessionReject).First, "its reply was lost")
		e.die(t, "i1")
		require.True(t, e.enter(t, "c2", "u", "i2", "web", domain.SessionReject).First)
		require.Equal(t, []string{"c2"}, e.conns(t, "u"))
		require.Empty(t, e.closed(t, "u"), "nobody hears a dead instance's notes")
	})
}

func TestSessionsOfDeadInstancesDoNotCount(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "dead", "i1")
		for i := range domain.MaxSessions {
			e.enter(t, fmt.Sprint("c", i), "u", "dead", "ios", domain.SessionMulti)
		}
		e.die(t, "dead")
		require.Equal(t, domain.Presence{}, e.presence(t, "u"))
		require.True(t, e.enter(t, "d", "u", "i1", "web", domain.SessionMulti).First)
		require.Equal(t, []string{"d"}, e.conns(t, "u"))
		require.Empty(t, e.closed(t, "u"))
		require.Equal(t, domain.Presence{Online: true, Devices: []string{"web"}}, e.presence(t, "u"))

		e.alive(t, "dead")
		e.enter(t, "e", "u", "dead", "", domain.SessionMulti)
		e.die(t, "dead")
		require.True(t, e.leave(t, "d", "u", "i1"))
		require.Empty(t, e.conns(t, "u"))
	})
}

func TestALeaveLooksAtOtherInstancesOnlyWhenNothingElseIsLeft(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2", "dead1", "dead2")
		e.enter(t, "c1", "u", "i1", "", domain.SessionMulti)
		e.enter(t, "c2", "u", "i1", "", domain.SessionMulti)
		e.enter(t, "d1", "u", "dead1", "", domain.SessionMulti)
		e.enter(t, "d2", "u", "dead2", "", domain.SessionMulti)
		e.enter(t, "c3", "u", "i2", "", domain.SessionMulti)
		e.die(t, "dead1", "dead2")
		require.False(t, e.leave(t, "c1", "u", "i1"))
		require.Equal(t, []string{"c2", "c3", "d1", "d2"}, e.conns(t, "u"), "the dead are left to be swept")
		require.False(t, e.leave(t, "c2", "u", "i1"), "one on an instance that lives")
		require.Empty(t, e.usersAt(t, "i1"))
		require.Equal(t, []string{"c3", "d1", "d2"}, e.conns(t, "u"))
		require.True(t, e.leave(t, "c3", "u", "i2"), "those on dead instances do not count")
		require.Empty(t, e.conns(t, "u"))
		require.Positive(t, e.presence(t, "u").LastSeenMS)
		gone, err := e.store.Sweep(t.Context(), "dead1")
		require.NoError(t, err)
		require.Empty(t, gone, "who left told it")
	})
}

func TestMostLeavesTakeOneRoundTrip(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	e.alive(t, "i1")
	for _, conn := range []string{"c1", "c2"} {
		e.enter(t, conn, "u", "i1", "", domain.SessionMulti)
	}
	e.leave(t, "c0", "u", "i1") // the script is known now
	var trips tripCounter
	e.store.rdb.AddHook(&trips)
	require.False(t, e.leave(t, "c1", "u", "i1"))
	require.EqualValues(t, 1, trips.Load())
	require.True(t, e.leave(t, "c2", "u", "i1"))
	require.EqualValues(t, 2, trips.Load())
}

// tripCounter counts what a client asks its server.
type tripCounter struct{ atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmds)
	}
}

// An instance that cannot announce itself is alive all the same when it asks.
func TestOwnSessionsCountWhateverRedisThinks(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.True(t, e.enter(t, "c1", "u", "i1", "", domain.SessionMulti).First)
		require.False(t, e.enter(t, "c2", "u", "i1", "", domain.SessionMulti).First)
		require.False(t, e.leave(t, "c1", "u", "i1"))
		require.Equal(t, []string{"c2"}, e.conns(t, "u"))
		require.True(t, e.leave(t, "c2", "u", "i1"))
	})
}

func TestAfterRedisLostEverythingALeaveIsTheLast(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1")
		e.enter(t, "c1", "u", "i1", "", domain.SessionMulti)
		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		require.True(t, e.leave(t, "c1", "u", "i1"))
		require.True(t, e.leave(t, "c1", "u", "i1"), "a repeat whose first reply was lost")
		require.Positive(t, e.presence(t, "u").LastSeenMS)
	})
}

func TestSessionsEndWithoutAnybodyLookingAfterThem(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1")
		e.enter(t, "c1", "u", "i1", "", domain.SessionReplace)
		e.enter(t, "c2", "u", "i1", "", domain.SessionReplace)
		p := e.cfg.Partitions.Of("u")
		e.restore(t, sessionOf("c", "v", "i2", ""))
		q := e.cfg.Partitions.Of("v")
		for key, want := range map[string]time.Duration{
			connsKey(p, "u"): sessionTTL, atKey(p, "i1"): sessionTTL, notesKey(p, "u"): notesTTL,
			connsKey(q, "v"): sessionTTL, atKey(q, "i2"): sessionTTL,
		} {
			ttl, err := e.store.rdb.PTTL(t.Context(), key).Result()
			require.NoError(t, err)
			require.InDelta(t, want.Seconds(), ttl.Seconds(), 60, key)
		}
		require.NoError(t, e.store.rdb.Persist(t.Context(), connsKey(p, "u")).Err())
		e.leave(t, "c2", "u", "i1")
		require.Positive(t, e.store.rdb.PTTL(t.Context(), connsKey(p, "u")).Val())
	})
}

func TestSweepTakesTheSessionsOfADeadInstanceOut(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.alive(t, "dead", "dead2", "i1")
		var want []string
		for i := range 200 {
			user := fmt.Sprint("u", i)
			e.enter(t, "c1", user, "dead", "", domain.SessionMulti)
			e.enter(t, "c2", user, "dead", "", domain.SessionMulti)
			if i%4 == 0 {
				e.enter(t, "c3", user, "i1", "", domain.SessionMulti)
			} else {
				want = append(want, user)
			}
		}
		e.enter(t, "c", "both", "dead", "", domain.SessionMulti)
		e.enter(t, "d", "both", "dead2", "", domain.SessionMulti)
		e.die(t, "dead", "dead2")
		dead, err := e.store.DeadInstances(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"dead", "dead2"}, dead)

		gone, err := e.store.Sweep(ctx, "dead")
		require.NoError(t, err)
		require.ElementsMatch(t, want, gone)
		require.Empty(t, e.usersAt(t, "dead"))
		require.Equal(t, []string{"c3"}, e.conns(t, "u0"))
		require.True(t, e.presence(t, "u0").Online)
		require.Empty(t, e.conns(t, "u1"))
		require.Positive(t, e.presence(t, "u1").LastSeenMS)

		gone, err = e.store.Sweep(ctx, "dead2")
		require.NoError(t, err)
		require.Equal(t, []string{"both"}, gone, "gone with the second of his instances")
		dead, err = e.store.DeadInstances(ctx)
		require.NoError(t, err)
		require.Empty(t, dead)
		gone, err = e.store.Sweep(ctx, "dead")
		require.NoError(t, err)
		require.Empty(t, gone)
	})
}

func TestOfManySweepersOneGetsAUser(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var want []string
		var sessions []domain.Session
		for i := range e.many(3 * pipelineCalls) {
			want = append(want, fmt.Sprint("u", i))
			sessions = append(sessions, sessionOf("c", want[i], "dead", ""))
		}
		e.restore(t, sessions...)
		var mu sync.Mutex
		var gone []string
		var sweepers sync.WaitGroup
		for range 4 {
			sweepers.Go(func() {
				users, err := e.store.Sweep(context.WithoutCancel(t.Context()), "dead")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				gone = append(gone, users...)
			})
		}
		sweepers.Wait()
		require.ElementsMatch(t, want, gone)
	})
}

func TestRestoreBringsBackWhatIsMissing(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.restore(t)
		e.alive(t, "i1")
		e.enter(t, "c0", "u0", "i1", "ios", domain.SessionMulti)
		e.opened(t, "c0", "u0", 7)
		sessions := []domain.Session{sessionOf("c0", "u0", "i1", "ios")}
		for i := range 3 * pipelineCalls / 2 {
			sessions = append(sessions, sessionOf(fmt.Sprint("c", i), fmt.Sprint("u", i%100), "i1", "web"))
		}
		e.restore(t, sessions...)
		require.Equal(t, domain.Presence{Online: true, Devices: []string{"ios", "web"}}, e.presence(t, "u0"))
		first, err := e.store.rdb.HGet(ctx, connsKey(e.cfg.Partitions.Of("u0"), "u0"), "c0").Result()
		require.NoError(t, err)
		require.Equal(t, "7 i1 ios", first, "what is there stays")
		require.Len(t, e.usersAt(t, "i1"), 100)
		require.Len(t, e.conns(t, "u99"), 7)
		e.die(t, "i1")
		gone, err := e.store.Sweep(ctx, "i1")
		require.NoError(t, err)
		require.Len(t, gone, 100)
	})
}

// The instance was silent for too long, the others sweep it, and it is back before they have done.
func TestAnInstanceThatIsSweptWhileItComesBackHasAllSessionsInTheEnd(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.alive(t, "i1")
		mine := []domain.Session{sessionOf("c1", "u", "i1", ""), sessionOf("c2", "v", "i1", "")}
		e.restore(t, mine...)
		e.die(t, "i1")
		require.False(t, e.announce(t, "i1", nil))
		e.restore(t, mine...)
		_, err := e.store.Sweep(ctx, "i1")
		require.NoError(t, err)
		require.False(t, e.presence(t, "u").Online)
		require.False(t, e.announce(t, "i1", nil), "it learns of it")
		e.restore(t, mine...)
		require.True(t, e.announce(t, "i1", nil))
		require.True(t, e.presence(t, "u").Online)
	})
}

// Others told that they are gone: it has to be told that they are there.
func TestRestoreNamesWhoWasThoughtToBeGone(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.alive(t, "i1", "i2")
		mine := []domain.Session{
			sessionOf("c1", "swept", "i1", ""), sessionOf("c2", "swept", "i1", ""), sessionOf("c", "elsewhere", "i1", ""),
			sessionOf("c", "again", "i1", ""), sessionOf("c", "left", "i1", ""),
		}
		require.Empty(t, e.restore(t, mine...), "nobody has told that they are gone")
		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		require.Empty(t, e.restore(t, mine...), "Redis was lost, and nobody has told it either")
		e.alive(t, "i2")
		e.enter(t, "d", "elsewhere", "i2", "", domain.SessionMulti)
		gone, err := e.store.Sweep(t.Context(), "i1")
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"swept", "again", "left"}, gone)
		e.enter(t, "d", "again", "i2", "", domain.SessionMulti) // and tells that he is there

		e.alive(t, "i1")
		require.Equal(t, []string{"swept"}, e.restore(t, mine[:4]...))
		require.Equal(t, []string{"swept"}, e.restore(t, mine[:4]...), "a repeat whose first reply was lost")
		require.True(t, e.presence(t, "swept").Online)
		e.enter(t, "c3", "swept", "i1", "", domain.SessionMulti)
		require.Empty(t, e.restore(t, mine[:4]...))
	})
}

// Nobody knows whether a session is in after a lost reply. Where Redis was not even asked, it is not.
func TestWhetherAFailedEnterWasHeard(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	p := testserver.NewProxy(t, e.addr)
	store := e.open(t, p.Addr())
	e.alive(t, "i1")
	enter := func(conn string) error {
		_, err := store.Enter(t.Context(), sessionOf(conn, "u", "i1", ""), domain.SessionMulti)
		return err
	}
	require.NoError(t, enter("c1"))
	require.True(t, e.leave(t, "c1", "u", "i1"))
	p.Keep(func(reply []byte) bool { return !strings.HasPrefix(string(reply), "*3\r\n$5\r\nFIRST") })
	err := enter("c2")
	require.Error(t, err)
	require.NotErrorIs(t, err, domain.ErrNotEntered)
	require.Equal(t, []string{"c2"}, e.conns(t, "u"))
	p.Keep(func([]byte) bool { return false })
	require.ErrorIs(t, enter("c3"), domain.ErrNotEntered)
	require.Equal(t, []string{"c2"}, e.conns(t, "u"))
}

func TestSweepLoadsItsScriptWithoutLosingUsers(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.restore(t, sessionOf("c", "u", "dead", ""))
		require.NoError(t, e.store.rdb.ScriptFlush(t.Context()).Err())
		gone, err := e.store.Sweep(t.Context(), "dead")
		require.NoError(t, err)
		require.Equal(t, []string{"u"}, gone)
	})
}

func TestWhatIsNoSessionIsLeftOut(t *testing.T) {
	t.Parallel()
	got := connections(map[string]string{
		"*seen": "5", "c1": "12 i1 ios", "c2": "13 i2 -", "bad": "garbage", "worse": "",
	})
	require.Equal(t, map[string]connection{
		"c1": {openedMS: 12, instance: "i1", device: "ios"},
		"c2": {openedMS: 13, instance: "i2"},
	}, got)
	for _, c := range got {
		require.Equal(t, c, connections(map[string]string{"c": c.String()})["c"])
	}
}

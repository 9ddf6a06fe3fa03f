package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/domain/testserver"
)

// fault is one way in which things go wrong.
type fault struct {
	name  string
	text  string   // for the report
	short bool     // also in the short form
	two   bool     // two faults at once: they may cost what mayCost says
	keeps []string // of that, what must hold all the same
	calm  bool     // no deadlock is due to it, so one is the writers' own
	once  bool     // it cannot be repeated within a run
	last  bool     // nothing is sent behind it
	setup setup
	// strike does it and puts everything right again: when it returns, hearth may be expected to recover.
	strike func(r *run)
}

const (
	blink    = 1500 * time.Millisecond // for what is frozen or cut shortly
	absence  = 7 * time.Second         // longer than the heartbeat of an instance counts
	slowness = 100 * time.Millisecond
)

// length is how long a fault lasts that has no length of its own.
func length(short, long_ time.Duration) time.Duration {
	if long() {
		return long_
	}
	return short
}

// faults are all of them. A test keeps their names apart.
var faults = []fault{
	{name: "none", text: "nothing: the load alone", strike: func(r *run) { r.goOn(blink) }},

	{name: "instance-killed", text: "an instance: kill -9, started again", short: true, strike: func(r *run) {
		i := r.anyInstance()
		r.must(i.Kill())
		r.goOn(blink)
		r.must(i.Restart())
	}},
	{name: "instance-frozen", text: "an instance: SIGSTOP for 1.5 s", short: true, strike: func(r *run) {
		r.freeze(r.anyInstance().Server, blink)
	}},
	{name: "instance-frozen-long", text: "an instance: SIGSTOP for 7 s, longer than its heartbeat counts", strike: func(r *run) {
		r.freeze(r.anyInstance().Server, absence)
	}},

	{name: "redis-killed", text: "Redis: kill -9, started again with its append-only file", short: true, strike: func(r *run) {
		r.must(r.redis.Restart())
	}},
	{name: "redis-frozen", text: "Redis: SIGSTOP for 1.5 s", short: true, strike: func(r *run) { r.freeze(r.redis, blink) }},
	{name: "redis-frozen-long", text: "Redis: SIGSTOP for 7 s", strike: func(r *run) { r.freeze(r.redis, absence) }},
	{name: "redis-emptied", text: "Redis: kill -9, started again with an empty folder", short: true, strike: func(r *run) {
		r.must(r.redis.Kill())
		r.must(emptyFolder(r.redis.Dir()))
		r.must(r.redis.Restart())
	}},
	{name: "power-loss", text: "Redis: its files as they were a second ago (appendfsync everysec)", short: true, strike: func(r *run) {
		tape := startTape(r.redis.Dir())
		r.goOn(powerLoss + 2*tapeEvery)
		r.must(r.redis.Kill())
		r.must(tape.restore())
		r.must(r.redis.Restart())
	}},
	{name: "flushall", text: "Redis: FLUSHALL", short: true, strike: func(r *run) { r.flushAll() }},
	{name: "flushall-young", text: "Redis: FLUSHALL when a group is seconds old", short: true, strike: func(r *run) {
		r.newGroups()
		r.flushAll()
	}},

	{name: "lagging-replica", text: "Redis: a replica that lags by half a second is promoted", short: true, setup: setup{replica: true}, strike: func(r *run) {
		r.link.Links().Stall()
		r.goOn(500 * time.Millisecond)
		r.replicaOf(r.replica, "")
		r.lead(r.replica, r.instances...)
		r.swap()
	}},
	{name: "demote-promote", text: "Redis: demoted, promoted, demoted and promoted again, one process", setup: setup{replica: true}, strike: func(r *run) {
		for range 2 {
			r.replicaOf(r.replica, "")
			r.replicaOf(r.redis, r.replica.Addr())
			r.goOn(300 * time.Millisecond)
			r.replicaOf(r.redis, "")
			r.follow()
			r.goOn(300 * time.Millisecond)
		}
	}},
	{name: "two-masters", text: "Redis: two masters for 1.5 s, with instances on each", short: true, setup: setup{replica: true}, strike: func(r *run) {
		r.replicaOf(r.replica, "")
		r.lead(r.replica, r.instances[1:]...)
		r.goOn(blink)
		r.lead(r.replica, r.instances[0])
		r.swap()
	}},
	{name: "sentinel", text: "Redis: the master killed, Sentinel promotes the replica", once: true, setup: setup{sentinel: true}, strike: func(r *run) {
		before := r.masterNow()
		r.must(r.redis.Kill())
		await(r.t, patience, "Sentinel promotes the replica", func() (bool, any) { now := r.masterNow(); return now != before, now })
		r.must(r.redis.Restart())
	}},
	{name: "cluster", text: "Redis Cluster: one of three masters killed, its replica promoted", once: true, setup: setup{cluster: true}, strike: func(r *run) {
		n := r.rand.IntN(3)
		r.must(r.nodes[n].Kill())
		replica := r.client(r.nodes[n+3])
		await(r.t, patience, "the replica is promoted", func() (bool, any) {
			role, err := replica.Do(context.Background(), "ROLE").Slice()
			return err == nil && len(role) > 0 && role[0] == "master", fmt.Sprint(role, err)
		})
		r.must(r.nodes[n].Restart())
	}},

	{name: "links-cut", text: "links from an instance to Redis and MySQL: cut, again and again for 1.5 s", short: true, strike: func(r *run) {
		i := r.anyInstance()
		for range 5 {
			i.redis.Links().Cut()
			i.mysql.Links().Cut()
			r.goOn(blink / 5)
		}
	}},
	{name: "replies-lost", text: "links from every instance to Redis: one reply in 12 is lost, and the connection with it", short: true, strike: func(r *run) {
		for _, i := range r.instances {
			i.redis.Keep(func([]byte) bool { return rand.IntN(12) > 0 })
		}
		r.goOn(length(2*time.Second, 5*time.Second))
		for _, i := range r.instances {
			i.redis.Keep(nil)
		}
	}},
	{name: "links-slow", text: "links from an instance to Redis and MySQL: 100 ms slower, either way", strike: func(r *run) {
		i := r.anyInstance()
		i.redis.Delay(slowness)
		i.mysql.Delay(slowness)
		r.goOn(length(2*time.Second, 5*time.Second))
		i.redis.Delay(0)
		i.mysql.Delay(0)
	}},
	{name: "links-half-open", text: "links from an instance to Redis: silent, and not closed", short: true, strike: func(r *run) {
		r.anyInstance().redis.Links().Stall()
		r.goOn(length(2*time.Second, 5*time.Second))
	}},
	{name: "pubsub-half-open", text: "the pub/sub link of every instance: silent, and not closed, while commands work", strike: func(r *run) {
		for _, i := range r.instances {
			i.redis.Subscribers().Stall()
		}
		r.goOn(length(2*time.Second, 8*time.Second))
	}},
	{name: "pubsub-silent-end", text: "the pub/sub link of every instance: silent from the last messages on", short: true, once: true, last: true, strike: func(r *run) {
		for _, i := range r.instances {
			i.redis.Subscribers().Stall()
		}
		r.goOn(200 * time.Millisecond)
	}},
	{name: "mysql-half-open", text: "links from an instance to MySQL: silent, and not closed", strike: func(r *run) {
		r.anyInstance().mysql.Links().Stall()
		r.goOn(5 * time.Second)
	}},

	{name: "mysql-killed", text: "MySQL: kill -9, started again", setup: setup{ownMySQL: true}, strike: func(r *run) {
		r.must(r.mysql.Restart())
	}},
	{name: "mysql-frozen", text: "MySQL: SIGSTOP for 1.5 s", setup: setup{ownMySQL: true}, strike: func(r *run) { r.freeze(r.mysql, blink) }},
	{name: "mysql-away", text: "MySQL: away for 8 s (long form: a minute)", short: true, once: true, setup: setup{ownMySQL: true}, strike: func(r *run) {
		r.must(r.mysql.Kill())
		r.goOn(length(8*time.Second, time.Minute))
		r.must(r.mysql.Restart())
	}},
	{name: "deadlocks", text: "MySQL: somebody locks the same rows in another order, and inserts them again", short: true, strike: func(r *run) {
		r.lockAround(length(2*time.Second, 10*time.Second))
	}},
	{name: "two-persisters", text: "the leases of the persisters deleted all the time", short: true, calm: true, strike: func(r *run) {
		c := r.client(r.redis)
		for until := time.Now().Add(length(2*time.Second, 10*time.Second)); time.Now().Before(until); r.goOn(20 * time.Millisecond) {
			for p := range 16 {
				r.must(c.Del(context.Background(), fmt.Sprintf("hearth:{%d}:lease", p)).Err())
			}
		}
	}},
	{name: "clock", text: "the clock of an instance an hour ahead, that of another an hour behind", once: true, setup: setup{binary: wrongClock}, strike: func(r *run) {
		r.goOn(length(3*time.Second, 10*time.Second))
	}},

	{
		name: "emptied-and-killed", text: "two at once: Redis emptied while an instance is killed; nobody reads there", two: true,
		setup: setup{readElsewhere: true, env: slowPersister}, keeps: []string{Vanished}, strike: (*run).emptyAndKill,
	},
	{
		name: "emptied-and-frozen", text: "two at once: Redis emptied while an instance stands still for 7 s", two: true,
		setup: setup{env: slowPersister}, strike: (*run).emptyAndFreeze,
	},
	{name: "power-loss-and-killed", text: "two at once: Redis loses its last second while an instance is killed", two: true, strike: func(r *run) {
		tape := startTape(r.redis.Dir())
		r.goOn(powerLoss + 2*tapeEvery)
		i := r.anyInstance()
		r.must(i.Kill())
		r.must(r.redis.Kill())
		r.must(tape.restore())
		r.must(r.redis.Restart())
		r.must(i.Restart())
	}},
	{name: "mysql-away-and-emptied", text: "two at once: Redis emptied while MySQL is away for 5 s", two: true, setup: setup{ownMySQL: true}, strike: func(r *run) {
		r.must(r.mysql.Kill())
		r.goOn(2 * time.Second)
		r.flushAll()
		r.goOn(3 * time.Second)
		r.must(r.mysql.Restart())
	}},
}

// slowPersister makes what only Redis has more than a few messages.
var slowPersister = map[string]string{"HEARTH_PERSIST_INTERVAL": "300ms"}

// emptyAndKill takes what an instance acknowledged from both its homes. What other instances have shown has another.
func (r *run) emptyAndKill() {
	i := r.instances[0]
	r.must(i.Kill())
	r.flushAll()
	r.goOn(blink)
	r.must(i.Restart())
}

// emptyAndFreeze leaves what an instance acknowledged to its journal, which the others do not wait for.
func (r *run) emptyAndFreeze() {
	i := r.anyInstance()
	r.must(i.Pause())
	r.flushAll()
	r.goOn(absence)
	r.must(i.Resume())
}

func (r *run) anyInstance() *instance { return r.instances[r.rand.IntN(len(r.instances))] }

func (r *run) freeze(s *testserver.Server, d time.Duration) {
	r.t.Helper()
	r.must(s.Pause())
	r.goOn(d)
	r.must(s.Resume())
}

func (r *run) flushAll() {
	r.t.Helper()
	r.must(r.client(r.redis).FlushAll(context.Background()).Err())
}

// newGroups makes groups that get their first messages at once, by senders of their own.
func (r *run) newGroups() {
	r.t.Helper()
	r.mu.Lock()
	n := len(r.names)
	r.mu.Unlock()
	for k := range 2 {
		g, user := groupName(n+k), fmt.Sprintf("y%d", n+k)
		r.must(r.createGroup(g, "room", []string{user}))
		r.mu.Lock()
		r.names = append(r.names, g)
		r.mu.Unlock()
		s := &sender{
			run: r, user: user, groups: []string{g}, at: k, rand: rand.New(rand.NewPCG(r.seed, uint64(n+k))),
			every: 20 * time.Millisecond, stopping: r.quiet, next: time.Now(),
		}
		r.senders = append(r.senders, s)
		r.sending.Go(func() { s.work(r.sendCtx) })
	}
	r.flows()
}

// lockAround is a stranger in the database: he locks what the persisters write in an order of his own, and inserts rows
// that are there.
func (r *run) lockAround(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var work sync.WaitGroup
	for n := range 3 {
		rnd := rand.New(rand.NewPCG(r.seed, uint64(n)+5000))
		work.Go(func() {
			for ctx.Err() == nil {
				_ = r.lockOnce(ctx, rnd) // it may be the victim itself
			}
		})
	}
	work.Wait()
}

func (r *run) lockOnce(ctx context.Context, rnd *rand.Rand) error {
	tx, err := r.db.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing behind a Commit
	groups := slices.Clone(r.names)
	slices.SortFunc(groups, func(a, b string) int { return strings.Compare(b, a) })
	first := rnd.IntN(len(groups) - 5)
	for _, g := range groups[first : first+5] {
		for _, statement := range []string{
			"UPDATE group_read SET read_seq=read_seq WHERE group_id=?",
			"INSERT INTO group_msg SELECT * FROM group_msg WHERE group_id=? ORDER BY msg_seq DESC LIMIT 3 ON DUPLICATE KEY UPDATE group_id=VALUES(group_id)",
			"SELECT COUNT(*) FROM (SELECT msg_seq FROM group_msg WHERE group_id=? ORDER BY msg_seq DESC LIMIT 3 FOR UPDATE) AS last",
		} {
			if _, err := tx.ExecContext(ctx, statement, g); err != nil {
				return err
			}
		}
		pause(ctx, time.Duration(rnd.IntN(5))*time.Millisecond)
	}
	return tx.Commit()
}

// wrongClock is a binary whose time.Now is off: that of the first instance is ahead, that of the second behind.
func wrongClock(t testing.TB, n int) string {
	t.Helper()
	switch n {
	case 0:
		return builds.build(t, "ahead", clockOff(t, 3600)...)
	case 1:
		return builds.build(t, "behind", clockOff(t, -3600)...)
	}
	return builds.build(t, "hearth")
}

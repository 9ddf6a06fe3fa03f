package redisrepo

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// A step of a cache is a fill with the snapshot of a version, or the change that led to it.
type step struct {
	fill, change int64
	again        bool // the change is told once more: it did not raise the version
	raise        bool // a new generation
}

func TestFillsAndChangesInAnyOrder(t *testing.T) {
	// Version n has the members u1 … un and the name "n".
	snapshotAt := func(version int64) *domain.GroupSnapshot {
		s := group("a", domain.Private)
		s.Version, s.Name = version, fmt.Sprint(version)
		for i := range version {
			s.Members = append(s.Members, domain.Membership{User: fmt.Sprint("u", i+1), Role: domain.Member})
		}
		return s
	}
	changeTo := func(version int64) *domain.GroupChange {
		s := snapshotAt(version)
		return &domain.GroupChange{Group: s.Group, Put: s.Members[version-1:], Raised: true}
	}
	cases := map[string]struct {
		steps []step
		want  int64 // version in the cache; 0: nothing is cached
	}{
		"nothing":                             {nil, 0},
		"fill":                                {[]step{{fill: 2}}, 2},
		"newer fill":                          {[]step{{fill: 2}, {fill: 3}}, 3},
		"older fill":                          {[]step{{fill: 3}, {fill: 2}}, 3},
		"same fill":                           {[]step{{fill: 3}, {fill: 3}}, 3},
		"change that follows":                 {[]step{{fill: 2}, {change: 3}}, 3},
		"changes that follow":                 {[]step{{fill: 2}, {change: 3}, {change: 4}}, 4},
		"repeated change":                     {[]step{{fill: 2}, {change: 3}, {change: 3}}, 3},
		"older change":                        {[]step{{fill: 3}, {change: 2}}, 3},
		"change before it was cached":         {[]step{{change: 3}}, 0},
		"change that skips one":               {[]step{{fill: 2}, {change: 4}}, 0},
		"the skipped one later":               {[]step{{fill: 2}, {change: 4}, {change: 3}}, 0},
		"older fill after a change":           {[]step{{change: 3}, {fill: 2}}, 0},
		"older fill after the applied change": {[]step{{fill: 2}, {change: 3}, {fill: 2}}, 3},
		"fill after the change":               {[]step{{change: 3}, {fill: 3}}, 3},
		"fill after the skip, then a change":  {[]step{{fill: 2}, {change: 4}, {fill: 4}, {change: 5}}, 5},
		"change that follows an uncached one": {[]step{{change: 3}, {change: 4}}, 0},
		"fill of before a new generation":     {[]step{{fill: 2}, {raise: true}}, 0},
		"change after a new generation":       {[]step{{fill: 2}, {raise: true}, {change: 3}}, 0},
		"fill in a new generation":            {[]step{{fill: 2}, {raise: true}, {fill: 2}}, 2},
		"older fill in a new generation":      {[]step{{change: 3}, {raise: true}, {fill: 2}}, 0},
		"change after a fill in a new one":    {[]step{{fill: 2}, {raise: true}, {fill: 2}, {change: 3}}, 3},
		"told again, of the cached version":   {[]step{{fill: 3}, {change: 3, again: true}}, 3},
		"told again, of an older version":     {[]step{{fill: 3}, {change: 2, again: true}}, 3},
		"told again, of the next version: not a change on this one": {[]step{{fill: 2}, {change: 3, again: true}}, 0},
		"versions of two digits, not compared as text":              {[]step{{fill: 9}, {change: 10}, {fill: 9}}, 10},
	}
	eachRedis(t, func(t *testing.T, e *env) {
		for name, c := range cases {
			require.NoError(t, e.store.rdb.Del(t.Context(), groupKey(e.cfg.Partitions.Of("a"), "a")).Err())
			for _, s := range c.steps {
				switch {
				case s.fill > 0:
					require.NoError(t, e.store.FillGroup(t.Context(), snapshotAt(s.fill)))
				case s.change > 0:
					c := changeTo(s.change)
					c.Raised = !s.again
					require.NoError(t, e.store.Changed(t.Context(), c))
				default:
					e.raise(t, e.gens[0].Load()+1)
				}
			}
			head := e.head(t, "u1", "a")
			require.Equal(t, c.want > 0, head.GroupLoaded, name)
			if c.want == 0 {
				require.Equal(t, domain.CachedHead{Head: domain.Head{Group: "a"}}, head, name)
				continue
			}
			require.Equal(t, fmt.Sprint(c.want), head.Name, name)
			for i := int64(1); i <= 11; i++ {
				want := domain.Outsider
				if i <= c.want {
					want = domain.Member
				}
				require.Equal(t, want, e.head(t, fmt.Sprint("u", i), "a").Role, "%s: u%d", name, i)
			}
		}
	})
}

func TestFillOfAnotherGenerationIsRefused(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.raiseRedis(t, e.cfg.Partitions.Of("a"), 2)
		require.NoError(t, e.store.FillGroup(t.Context(), group("a", domain.Room)), "in silence: the send learns it")
		e.gens[e.cfg.Partitions.Of("a")].Store(2)
		require.False(t, e.head(t, "u", "a").GroupLoaded)
	})
}

func TestChangeIsApplied(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		s := group("a", domain.Private, "u1:owner", "u2", "u3")
		require.NoError(t, e.store.FillGroup(ctx, s))
		for _, user := range []string{"u2", "u4"} {
			require.NoError(t, e.store.FillReads(ctx, map[domain.GroupUser]int64{{Group: "a", User: user}: 3}))
		}
		c := domain.GroupChange{
			Group:   s.Group,
			Put:     []domain.Membership{{User: "u2", Role: domain.Admin}, {User: "u4", Role: domain.Member}},
			Removed: []string{"u3", "u1"}, Joined: []string{"u4"},
		}
		c.Raised, c.Version, c.Name, c.Join, c.Muted = true, 2, "näme with spaces", domain.JoinOpen, true
		require.NoError(t, e.store.Changed(ctx, &c))
		head := domain.Head{Group: "a", Type: domain.Private, Name: c.Name, Join: domain.JoinOpen, Muted: true, Version: 2}
		for user, want := range map[string]struct {
			role       domain.Role
			readLoaded bool
		}{"u1": {}, "u2": {domain.Admin, true}, "u3": {}, "u4": {domain.Member, false}} {
			head.Role, head.ReadSeq = want.role, 0
			if want.readLoaded {
				head.ReadSeq = 3
			}
			require.Equal(t, domain.CachedHead{Head: head, GroupLoaded: true, ReadLoaded: want.readLoaded}, e.head(t, user, "a"), user)
		}
	})
}

// Who has left muted has no role, and is no member to anybody; but his mute is there, and gone with it.
func TestAMuteWithoutMembershipIsCached(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := group("a", domain.Room, "u", "v")
		require.NoError(t, e.store.FillGroup(t.Context(), s))
		key := groupKey(e.cfg.Partitions.Of("a"), "a")
		change := func(c domain.GroupChange) {
			s.Version++
			c.Group, c.Raised = s.Group, true
			require.NoError(t, e.store.Changed(t.Context(), &c))
		}
		change(domain.GroupChange{Put: []domain.Membership{{User: "u", MuteUntilMS: domain.MuteForever}}})
		require.Equal(t, ":-1", e.store.rdb.HGet(t.Context(), key, "u").Val())
		require.Equal(t, domain.Outsider, e.head(t, "u", "a").Role)
		roles, loaded, err := e.store.Roles(t.Context(), "a", []string{"u", "v"})
		require.NoError(t, err)
		require.True(t, loaded)
		require.Equal(t, map[string]domain.Role{"v": domain.Member}, roles)
		change(domain.GroupChange{Removed: []string{"u"}})
		require.False(t, e.store.rdb.HExists(t.Context(), key, "u").Val())
	})
}

// MySQL sets the read mark of who joins; what the cache holds of before is wrong, whatever it knows of the group.
func TestJoiningDropsTheCachedReadMark(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		for name, version := range map[string]int64{"not cached": 0, "applied": 2, "dropped": 1, "overtaken": 7} {
			require.NoError(t, e.store.rdb.Del(ctx, groupKey(e.cfg.Partitions.Of("a"), "a")).Err())
			if version > 0 {
				s := group("a", domain.Room)
				s.Version = version
				require.NoError(t, e.store.FillGroup(ctx, s))
			}
			require.NoError(t, e.store.FillReads(ctx, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 0, {Group: "a", User: "v"}: 4}))
			c := &domain.GroupChange{Group: group("a", domain.Room).Group, Raised: true, Joined: []string{"u"}}
			c.Version, c.Put = 3, []domain.Membership{{User: "u", Role: domain.Member}}
			require.NoError(t, e.store.Changed(ctx, c))
			require.False(t, e.head(t, "u", "a").ReadLoaded, name)
			require.True(t, e.head(t, "v", "a").ReadLoaded, name)
		}
	})
}

func TestDismissedGroupLeavesTheHeat(t *testing.T) {
	for name, version := range map[string]int64{"applied": 2, "dropped": 5} {
		t.Run(name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				e.cfg.HeatWindow = 200e6
				store := e.open(t, e.addr)
				r := e.recovery(group("a", domain.Room, "u:owner"), group("b", domain.Room))
				s := newSender(t, store, r, AppendConfig{})
				s.must(t, domain.Draft{Group: "a", From: "u"})
				s.must(t, domain.Draft{Group: "b", From: "u"})
				c := &domain.GroupChange{Group: r.groups["a"].Group, Raised: true}
				c.Version, c.Dismissed = version, true
				require.NoError(t, e.store.Changed(t.Context(), c))
				scores, _, err := e.scores(t) // with the long window: nothing expires
				require.NoError(t, err)
				require.Equal(t, map[string]int{"b": 1}, scores)
				r.groups["a"] = &domain.GroupSnapshot{Group: c.Group}
				s.refused(t, domain.CodeGone, domain.Draft{Group: "a", From: "u"})
				until(t, "the speakers to expire", func() bool {
					scores, _, err = scoresOf(t, store)
					require.NoError(t, err)
					require.NotContains(t, scores, "a")
					return len(scores) == 0
				})
			})
		})
	}
}

// One call for groups of several partitions, each known in another measure.
func TestHeadsOfManyGroups(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		var names []string
		var want []domain.CachedHead
		seeds := make(map[int]map[string]domain.Seed)
		for p := range 8 {
			for i, g := range groupsIn(p, 8) { // each combination of what may be known
				h := domain.CachedHead{Head: domain.Head{Group: g}, GroupLoaded: i&1 > 0, Seeded: i&2 > 0, ReadLoaded: i&4 > 0}
				if h.GroupLoaded {
					s := group(g, domain.Private, "u:admin", "other")
					require.NoError(t, e.store.FillGroup(ctx, s))
					h.Type, h.Name, h.Join, h.Version, h.Role = domain.Private, s.Name, s.Join, s.Version, domain.Admin
				}
				if h.Seeded {
					seed := domain.Seed{Start: int64(100 + p), LastMS: 1_700_000_000_000}
					if p%2 == 0 {
						seed.Holes = domain.Holes{{From: 1, To: int64(p + 1), Reason: domain.HoleExpired}}
					}
					if seeds[p] == nil {
						seeds[p] = make(map[string]domain.Seed)
					}
					seeds[p][g] = seed
					h.MaxSeq, h.PersistedSeq, h.LastMS, h.Holes = seed.Start, seed.Start, seed.LastMS, seed.Holes
				}
				if h.ReadLoaded {
					require.NoError(t, e.store.FillReads(ctx, map[domain.GroupUser]int64{{Group: g, User: "u"}: int64(i)}))
					h.ReadSeq = int64(i)
				}
				names, want = append(names, g), append(want, h)
			}
		}
		for p, s := range seeds {
			require.NoError(t, e.store.SetSeeds(ctx, p, 1, s))
		}
		for i := range names { // the order of the call, not of the partitions
			j := i * 37 % len(names)
			names[i], names[j], want[i], want[j] = names[j], names[i], want[j], want[i]
		}
		got, err := e.store.Heads(ctx, "u", names)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got))

		got, err = e.store.Heads(ctx, "", names)
		require.NoError(t, err)
		for i := range want {
			want[i].Role, want[i].ReadSeq, want[i].ReadLoaded = "", 0, false
		}
		require.Empty(t, cmp.Diff(want, got), "of nobody")
		got, err = e.store.Heads(ctx, "u", nil)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

func TestBrokenNumbersAreErrors(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of("a")
		good := map[string]string{seqKey(p, 1): "5 6", persistedKey(p, 1): "4", holesKey(p, 1): "1-2:lost"}
		for broken, values := range map[string][]string{
			seqKey(p, 1): {"x 6", "5 x"}, persistedKey(p, 1): {"x"}, holesKey(p, 1): {"1-2", "x-2:lost"},
		} {
			for _, value := range values {
				for key, v := range good {
					if key == broken {
						v = value
					}
					require.NoError(t, e.store.rdb.HSet(t.Context(), key, "a", v).Err())
				}
				_, err := e.store.Heads(t.Context(), "u", []string{"a"})
				require.Error(t, err, "%s %q", broken, value)
			}
		}
		for key, v := range good {
			require.NoError(t, e.store.rdb.HSet(t.Context(), key, "a", v).Err())
		}
		require.NoError(t, e.store.rdb.HSet(t.Context(), readKey(p, 1, "a"), "u", "x").Err())
		_, err := e.store.Heads(t.Context(), "u", []string{"a"})
		require.Error(t, err)
	})
}

func TestReadMarksMoveForwardOnly(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		log := e.log("a")
		for _, step := range []struct{ seq, known, want int64 }{
			{0, 0, 0}, {5, 0, 5}, {3, 0, 5}, {5, 0, 5}, {6, 9, 9}, {8, 0, 9}, {1 << 52, 0, 1 << 52}, {7, 0, 1 << 52},
		} {
			got, err := e.store.MarkRead(ctx, "a", "u", step.seq, step.known, nil)
			require.NoError(t, err)
			require.Equal(t, step.want, got, "%+v", step)
			require.Equal(t, step.want, e.head(t, "u", "a").ReadSeq)
		}
		require.NoError(t, e.store.FillReads(ctx, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 3, {Group: "a", User: "v"}: 4}))
		require.Equal(t, int64(1<<52), e.head(t, "u", "a").ReadSeq, "what is there stays")
		require.Equal(t, int64(4), e.head(t, "v", "a").ReadSeq)
		marks, err := e.store.DirtyMarks(ctx, log)
		require.NoError(t, err)
		require.Equal(t, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 1 << 52}, marks, "filled and unmoved marks are not dirty")
	})
}

func TestReadMarkOfAnotherGenerationIsRefused(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of("a")
		e.raiseRedis(t, p, 2)
		_, err := e.store.MarkRead(t.Context(), "a", "u", 5, 0, nil)
		require.Error(t, err)
		n, err := e.store.rdb.Exists(t.Context(), dirtyKey(p, 1), readKey(p, 1, "a")).Result()
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestWrittenMarksAreForgottenUnlessTheyMoved(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		log := e.log("a")
		read := func(user string, seq int64) {
			_, err := e.store.MarkRead(ctx, "a", user, seq, 0, nil)
			require.NoError(t, err)
		}
		dirty := func() map[domain.GroupUser]int64 {
			marks, err := e.store.DirtyMarks(ctx, log)
			require.NoError(t, err)
			return marks
		}
		require.Empty(t, dirty())
		read("u", 5)
		read("v", 6)
		marks := dirty()
		require.Equal(t, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 5, {Group: "a", User: "v"}: 6}, marks)
		read("u", 7)
		require.NoError(t, e.store.MarksWritten(ctx, log, marks))
		require.Equal(t, map[domain.GroupUser]int64{{Group: "a", User: "u"}: 7}, dirty())
		require.NoError(t, e.store.MarksWritten(ctx, log, dirty()))
		require.Empty(t, dirty())
		require.NoError(t, e.store.MarksWritten(ctx, log, nil))
		require.Equal(t, int64(7), e.head(t, "u", "a").ReadSeq)
	})
}

// HSCAN gives empty pages of a hash that has become sparse; the contract is none only when there are none.
func TestDirtyMarksAreFoundInASparseHash(t *testing.T) {
	t.Parallel()
	e := newReal(t) // miniredis' HSCAN has one page
	ctx := t.Context()
	log := e.log("a")
	key := dirtyKey(log.Partition, log.Gen)
	pipe := e.store.rdb.Pipeline()
	const many = 30_000
	for i := range many {
		pipe.HSet(ctx, key, fmt.Sprint("a|u", i), 1)
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
	for left := many; left > 0; {
		marks, err := e.store.DirtyMarks(ctx, log)
		require.NoError(t, err)
		require.NotEmpty(t, marks, "%d are left", left)
		require.NoError(t, e.store.MarksWritten(ctx, log, marks))
		left -= len(marks)
	}
}

func TestRecentInBothDirections(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room), group("b", domain.Room))
		r.seeds["a"] = domain.Seed{Start: 100}
		s := e.sender(t, r, AppendConfig{})
		var answers []<-chan result
		for i := range 30 {
			answers = append(answers, s.post(domain.Draft{Group: "a", From: "u", Body: text(fmt.Sprint(i))}))
		}
		seqs(t, answers)
		cases := []struct {
			r           domain.Range
			first, last int64 // 0: none
		}{
			{domain.Range{Group: "a", From: 101, To: 130, Limit: 50}, 101, 130},
			{domain.Range{Group: "a", From: 1, To: 1 << 53, Limit: 50}, 101, 130},
			{domain.Range{Group: "a", From: 105, To: 130, Limit: 10}, 105, 114},
			{domain.Range{Group: "a", From: 1, To: 120, Limit: 10, Last: true}, 111, 120},
			{domain.Range{Group: "a", From: 118, To: 120, Limit: 10, Last: true}, 118, 120},
			{domain.Range{Group: "a", From: 120, To: 119, Limit: 10}, 0, 0},
			{domain.Range{Group: "a", From: -5, To: 0, Limit: 10}, 0, 0},
			{domain.Range{Group: "b", From: 1, To: 10, Limit: 10, Last: true}, 0, 0},
		}
		var ranges []domain.Range
		for _, c := range cases {
			ranges = append(ranges, c.r)
		}
		got, err := e.store.Recent(t.Context(), ranges)
		require.NoError(t, err)
		for i, c := range cases {
			var want []int64
			for seq := c.first; seq <= c.last && seq > 0; seq++ {
				want = append(want, seq)
			}
			var have []int64
			for _, record := range got[i] {
				require.Equal(t, "a", record.Group)
				require.Contains(t, string(record.Tail), fmt.Sprintf(`"text":"%d"`, record.Seq-101))
				have = append(have, record.Seq)
			}
			require.Equal(t, want, have, "%+v", c.r)
		}
		none, err := e.store.Recent(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

// What a hole from 1 on covers is not among the recent messages any more; what may have a message is.
func TestRecentMessagesStartWhereHistoryDoes(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.written(t, 10, "a")
		all := []domain.Range{{Group: "a", From: 1, To: 100, Limit: 100}}
		for _, c := range []struct {
			holes domain.Holes
			first int64 // of those left; 0: none
		}{
			{nil, 1},
			{domain.Holes{{From: 2, To: 3, Reason: domain.HoleLost}}, 1},
			{domain.Holes{{From: 1, To: 4, Reason: domain.HoleExpired}, {From: 5, To: 5, Reason: domain.HoleLost}}, 6},
			{domain.Holes{{From: 1, To: 10, Reason: domain.HoleExpired}}, 0},
		} {
			require.NoError(t, e.store.SetHoles(ctx, "a", c.holes))
			got, err := e.store.Recent(ctx, all)
			require.NoError(t, err)
			if c.first == 0 {
				require.Empty(t, got[0])
				continue
			}
			require.Equal(t, c.first, got[0][0].Seq)
			require.Len(t, got[0], int(11-c.first))
		}
		require.Equal(t, int64(10), e.head(t, "", "a").MaxSeq)
	})
}

func TestHolesThatChangedAreTakenOver(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		names := groupsIn(3, 2)
		seeded, floored := names[0], names[1]
		before := domain.Holes{{From: 11, To: 100, Reason: domain.HoleLost}}
		require.NoError(t, e.store.SetSeeds(ctx, 3, 1, map[string]domain.Seed{seeded: {Start: 100, Holes: before}}))
		require.NoError(t, e.store.FillFloors(ctx, map[string]domain.Floor{floored: {MaxSeq: 100, Holes: before}}))
		after := domain.Holes{{From: 1, To: 5, Reason: domain.HoleExpired}, {From: 12, To: 100, Reason: domain.HoleLost}}
		for _, g := range names {
			require.NoError(t, e.store.SetHoles(ctx, g, after))
		}
		require.Equal(t, after, e.head(t, "", seeded).Holes)
		require.EqualValues(t, 100, e.head(t, "", seeded).MaxSeq)
		require.False(t, e.head(t, "", floored).Seeded, "MySQL is asked again")
		require.NoError(t, e.store.SetHoles(ctx, seeded, nil))
		require.Empty(t, e.head(t, "", seeded).Holes)
		e.raiseRedis(t, 3, 2)
		require.NoError(t, e.store.SetSeeds(ctx, 3, 2, map[string]domain.Seed{seeded: {Start: 200, Holes: before}}))
		require.NoError(t, e.store.SetHoles(ctx, seeded, after), "to the generation that Redis is in")
		e.gens[3].Store(2)
		require.Equal(t, after, e.head(t, "", seeded).Holes)
		e.raiseRedis(t, 3, 3)
		_, err := e.store.Heads(ctx, "", []string{seeded})
		require.ErrorContains(t, err, "generation 2 is over", "Redis is in another one, and nobody renews")
	})
}

// flushAmong empties Redis within every pipeline of its clients, behind so many commands.
type flushAmong struct {
	behind  int
	flush   func()
	flushed *bool
}

func (flushAmong) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (flushAmong) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (f flushAmong) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if *f.flushed || f.behind >= len(cmds) {
			return next(ctx, cmds)
		}
		*f.flushed = true
		if f.behind > 0 {
			if err := next(ctx, cmds[:f.behind]); err != nil {
				return err
			}
		}
		f.flush()
		return next(ctx, cmds[f.behind:])
	}
}

// A pipeline is not one step: others come between its commands.
func TestHeadsAreNotBelievedOfARedisThatIsEmptiedAmongTheReads(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for behind := 0; ; behind++ {
			gen := int64(1 + behind)
			e.raise(t, gen)
			p := e.cfg.Partitions.Of("a")
			require.NoError(t, e.store.SetSeeds(t.Context(), p, gen, map[string]domain.Seed{"a": {Start: 100}}))
			flushed := false
			emptied := e.open(t, e.addr)
			emptied.rdb.AddHook(flushAmong{behind, func() { require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err()) }, &flushed})
			heads, err := emptied.Heads(t.Context(), "ann", []string{"a"})
			if err == nil {
				require.EqualValues(t, 100, heads[0].MaxSeq, "emptied behind %d commands", behind)
			}
			if !flushed { // there were no more commands
				require.NoError(t, err)
				return
			}
		}
	})
}

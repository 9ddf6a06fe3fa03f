package redisrepo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// spoken is what was said, for counting by brute force.
type spoken struct {
	group, user string
	ms          int64
	seq         int64
}

func heatOf(said []spoken, after int64) map[string]int {
	speakers := make(map[domain.GroupUser]bool)
	for _, m := range said {
		if m.ms > after {
			speakers[domain.GroupUser{Group: m.group, User: m.user}] = true
		}
	}
	heat := make(map[string]int)
	for s := range speakers {
		heat[s.Group]++
	}
	return heat
}

// scores are the groups' numbers of speakers.
func (e *env) scores(t *testing.T) (scores map[string]int, nowMS int64, err error) {
	t.Helper()
	return scoresOf(t, e.store)
}

func scoresOf(t *testing.T, store *Store) (scores map[string]int, nowMS int64, err error) {
	t.Helper()
	groups, nowMS, err := store.Heat(t.Context())
	scores = make(map[string]int)
	for _, g := range groups {
		require.Zero(t, scores[g.Group], "%s is there twice", g.Group)
		scores[g.Group] = g.Speakers
	}
	return scores, nowMS, err
}

func TestHeatIsTheNumberOfSpeakersInTheWindow(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	window := e.cfg.HeatWindow.Milliseconds()
	now := int64(1_700_000_000_000)
	r := e.recovery(group("a", domain.Room), group("b", domain.Room), group("c", domain.Private, "u1", "u2"), group("dm:u1:u2", domain.Direct, "u1", "u2"))
	s := e.sender(t, r, AppendConfig{})
	var said []spoken
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, window), rapid.Just(window)).Draw(rt, "pause")
			e.mini.SetTime(time.UnixMilli(now))
			d := domain.Draft{
				Group:    rapid.SampledFrom([]string{"a", "b", "c", "dm:u1:u2"}).Draw(rt, "group"),
				From:     rapid.SampledFrom([]string{"u1", "u2", "u3", "u4", domain.SystemUser}).Draw(rt, "user"),
				ClientID: rapid.SampledFrom([]string{"", "", "again"}).Draw(rt, "client_id"),
			}
			if d.From == domain.SystemUser || rapid.Bool().Draw(rt, "app server") {
				d.Operator = "key"
			}
			got := await(t, s.post(d))
			if got.err == nil && !got.Duplicate && d.Group != "dm:u1:u2" && d.From != domain.SystemUser {
				said = append(said, spoken{d.Group, d.From, now, got.Seq})
			}
			if rapid.IntRange(0, 3).Draw(rt, "look") == 0 { // costs a script a partition
				scores, nowMS, err := e.scores(t)
				require.NoError(rt, err)
				require.Equal(rt, now, nowMS)
				require.Equal(rt, heatOf(said, now-window), scores)
			}
		}
	})
	e.mini.SetTime(time.UnixMilli(now + window))
	scores, _, err := e.scores(t)
	require.NoError(t, err)
	require.Empty(t, scores)
	for p := range testPartitions {
		require.False(t, e.mini.Exists(speakersKey(p)))
		require.False(t, e.mini.Exists(heatKey(p)))
	}
}

func TestHeatByTheServersClock(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.cfg.HeatWindow = 300 * time.Millisecond
		store := e.open(t, e.addr)
		groups := groupsIn(testPartitions-1, 3) // the partition whose clock Heat reports
		r := e.recovery()
		for _, g := range groups {
			r.groups[g] = group(g, domain.Room)
		}
		s := newSender(t, store, r, AppendConfig{})
		var said []spoken
		end := time.Now().Add(900 * time.Millisecond)
		for i := 0; time.Now().Before(end); i++ {
			got := s.must(t, domain.Draft{Group: groups[i%3], From: fmt.Sprint("u", i*i%17)})
			said = append(said, spoken{groups[i%3], fmt.Sprint("u", i*i%17), got.TimeMS, got.Seq})
			pass := time.Now().Add(time.Duration(i%7) * time.Millisecond)
			until(t, "a moment", func() bool { return time.Now().After(pass) })
			scores, nowMS, err := scoresOf(t, store)
			require.NoError(t, err)
			require.Equal(t, heatOf(said, nowMS-300), scores)
		}
		until(t, "heat to end", func() bool {
			scores, nowMS, err := scoresOf(t, store)
			require.NoError(t, err)
			require.Equal(t, heatOf(said, nowMS-300), scores)
			return len(scores) == 0
		})
	})
}

// The append itself takes out what expired, at most 100 a call, so that heat sinks without the job.
func TestAppendExpiresSpeakers(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	var answers []<-chan result
	for i := range 150 {
		answers = append(answers, s.post(domain.Draft{Group: "a", From: fmt.Sprint("u", i)}))
	}
	seqs(t, answers)
	heat := func() int {
		score, err := e.mini.ZScore(heatKey(e.cfg.Partitions.Of("a")), "a")
		require.NoError(t, err)
		return int(score)
	}
	require.Equal(t, 150, heat())
	e.mini.SetTime(now.Add(e.cfg.HeatWindow))
	s.must(t, domain.Draft{Group: "a", From: "new"})
	require.Equal(t, 51, heat())
	s.must(t, domain.Draft{Group: "a", From: "new"})
	require.Equal(t, 1, heat())
}

// Whatever comes in whatever order – sends, expiry, what MySQL knows (some of it, all of it, again), the loss of it all –
// a group's heat is the number of its speakers; and once everything was brought back, it is the right one.
func TestHeatIsBroughtBackBetweenSends(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	window := e.cfg.HeatWindow.Milliseconds()
	now := int64(1_700_000_000_000)
	groups := append(groupsIn(2, 2), groupsIn(3, 1)...)
	r := e.recovery()
	for _, g := range groups {
		r.groups[g] = group(g, domain.Room)
	}
	s := e.sender(t, r, AppendConfig{})
	var said []spoken // all of which MySQL has
	lost := false     // and what was not brought back yet
	gens := []domain.LogRange{{Partition: 2, Gen: 1}, {Partition: 3, Gen: 1}}
	speakersOf := func(p int) (list []domain.Speaker) {
		said = slices.DeleteFunc(said, func(m spoken) bool { return m.ms < now-2*window }) // some too old ones are enough
		for _, m := range said {
			if e.cfg.Partitions.Of(m.group) == p {
				list = append(list, domain.Speaker{Group: m.group, User: m.user, TimeMS: m.ms})
			}
		}
		return list
	}
	consistent := func(rt *rapid.T) map[string]int {
		all := map[string]int{}
		for _, g := range gens {
			counts := map[string]int{}
			speakers, _ := e.mini.ZMembers(speakersKey(g.Partition)) // an error: there is none
			for _, member := range speakers {
				group, _, _ := strings.Cut(member, "|")
				counts[group]++
			}
			heat, _ := e.mini.SortedSet(heatKey(g.Partition))
			require.Len(rt, heat, len(counts))
			for group, n := range counts {
				require.InDelta(rt, n, heat[group], 0, group)
			}
			maps.Copy(all, counts)
		}
		return all
	}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, window), rapid.Just(window)).Draw(rt, "pause")
			e.mini.SetTime(time.UnixMilli(now))
			g := rapid.SampledFrom(gens).Draw(rt, "partition")
			switch rapid.SampledFrom([]string{"send", "send", "send", "lose", "some", "all", "expire"}).Draw(rt, "step") {
			case "send":
				d := domain.Draft{Group: rapid.SampledFrom(groups).Draw(rt, "group"), From: fmt.Sprint("u", rapid.IntRange(1, 5).Draw(rt, "user"))}
				got := s.must(t, d)
				said = append(said, spoken{d.Group, d.From, got.TimeMS, got.Seq})
			case "lose":
				for _, g := range gens {
					e.mini.Del(speakersKey(g.Partition))
					e.mini.Del(heatKey(g.Partition))
				}
				lost = true
			case "some": // and then the instance dies
				known := speakersOf(g.Partition)
				if len(known) == 0 {
					continue
				}
				known = known[rapid.IntRange(0, len(known)-1).Draw(rt, "from"):]
				args := []any{1, window, ""}
				for _, m := range known {
					args = append(args, m.Group, m.User, m.TimeMS)
				}
				keys := []string{genKey(g.Partition), speakersKey(g.Partition), heatKey(g.Partition)}
				require.NoError(rt, e.store.run(t.Context(), heatScript, keys, args...).Err())
			case "all":
				for _, g := range gens {
					require.NoError(rt, e.store.AddHeat(t.Context(), g, speakersOf(g.Partition)))
				}
				lost = false
			case "expire":
				_, err := e.store.ExpireHeat(t.Context(), []int{2, 3})
				require.NoError(rt, err)
			}
			consistent(rt)
			if !lost && rapid.Bool().Draw(rt, "look") {
				_, err := e.store.ExpireHeat(t.Context(), []int{2, 3})
				require.NoError(rt, err)
				require.Equal(rt, heatOf(said, now-window), consistent(rt))
			}
		}
	})
}

// A ranking of what was brought back so far would be taken for all.
func TestAllHeatIsWholeOnceThatOfEveryPartitionIs(t *testing.T) {
	for _, messages := range []bool{false, true} {
		t.Run(fmt.Sprintf("messages counted: %v", messages), func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				e.cfg.CountMessages = messages
				e.store = e.open(t, e.addr)
				whole := func() string {
					of, err := e.store.WholeHeat(t.Context())
					require.NoError(t, err)
					return of
				}
				bringBack := func() {
					for p := range testPartitions {
						log := domain.LogRange{Partition: p, Gen: e.gens[p].Load()}
						require.Empty(t, whole())
						require.NoError(t, e.store.AddHeat(t.Context(), log, nil))
						if messages {
							require.Empty(t, whole())
							require.NoError(t, e.store.AddMessages(t.Context(), log, nil, true))
						}
					}
				}
				bringBack()
				first := whole()
				require.NotEmpty(t, first)
				require.Equal(t, first, whole())

				e.raise(t, 2)
				bringBack()
				second := whole()
				require.NotEmpty(t, second)
				require.NotEqual(t, first, second, "it was away in between")

				require.NoError(t, e.store.rdb.HSet(t.Context(), genKey(3), "server", "another").Err())
				require.Empty(t, whole(), "an older copy of it")
				require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
				require.Empty(t, whole(), "nobody has noticed yet")
			})
		})
	}
}

func TestHeatIsWholeOnceAllOfItIsBack(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		log := e.log("a")
		whole := func(log domain.LogRange) bool {
			missing, err := e.store.WithoutHeat(t.Context(), []domain.LogRange{log})
			require.NoError(t, err)
			return len(missing) == 0
		}
		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		window := e.cfg.HeatWindow.Milliseconds()
		var speakers []domain.Speaker
		for i := range 2*heatBatch + 3 {
			speakers = append(speakers, domain.Speaker{Group: "a", User: fmt.Sprint("u", i), TimeMS: now - int64(i)})
		}
		speakers = append(speakers,
			domain.Speaker{Group: "a", User: "too long ago", TimeMS: now - window},
			domain.Speaker{Group: "a", User: "ahead of the clock", TimeMS: now + 10*window})
		require.False(t, whole(log))
		for range 2 {
			require.NoError(t, e.store.AddHeat(t.Context(), log, speakers))
			scores, _, err := e.scores(t)
			require.NoError(t, err)
			require.Equal(t, map[string]int{"a": 2*heatBatch + 4}, scores)
		}
		ahead := e.store.rdb.ZScore(t.Context(), speakersKey(log.Partition), "a|ahead of the clock").Val()
		require.InDelta(t, now, ahead, float64(window), "he does not count for longer than the others")
		require.True(t, whole(log))

		e.raise(t, 2)
		require.False(t, whole(e.log("a")), "a new generation has to look again")
		require.Error(t, e.store.AddHeat(t.Context(), log, speakers), "the old one must not say it is whole")
		require.False(t, whole(e.log("a")))
		require.NoError(t, e.store.AddHeat(t.Context(), e.log("a"), nil))
		require.True(t, whole(e.log("a")))

		require.NoError(t, e.store.rdb.FlushAll(t.Context()).Err())
		require.Error(t, e.store.AddHeat(t.Context(), e.log("a"), speakers))
		require.Zero(t, e.store.rdb.DBSize(t.Context()).Val())
	})
}

func TestExpiryNeedsNobodyWhoSpeaksOrAsks(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	p := e.cfg.Partitions.Of("a")
	groups := func() int64 {
		n, err := e.store.ExpireHeat(t.Context(), []int{p})
		require.NoError(t, err)
		return n
	}
	require.Equal(t, int64(1), groups())
	e.mini.SetTime(now.Add(e.cfg.HeatWindow))
	require.Zero(t, groups())
	require.False(t, e.mini.Exists(speakersKey(p)))
	n, err := e.store.ExpireHeat(t.Context(), nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// What was asked of one generation is not believed because Redis is in the next one meanwhile, and the instance has learned so.
func TestTimesOfLastMessagesAreOfTheGenerationThatWasAsked(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of("a")
		store := e.open(t, e.addr)
		require.NoError(t, e.store.SetSeeds(t.Context(), p, 1, map[string]domain.Seed{"a": {Start: 1, LastMS: 1111}}))
		of := make([][]domain.GroupHeat, testPartitions)
		of[p] = []domain.GroupHeat{{Group: "a"}}
		require.NoError(t, store.addNumbers(t.Context(), of))
		require.Equal(t, int64(1111), of[p][0].LastMS)
		of[p][0].LastMS = 0
		raised := false
		store.rdb.AddHook(flushAmong{0, func() { e.raise(t, 2) }, &raised})
		require.NoError(t, store.addNumbers(t.Context(), of))
		require.True(t, raised)
		require.Zero(t, of[p][0].LastMS)
	})
}

// Partitions are read whole, some together, or a step at a time: each group is there once whatever their sizes are.
func TestHeatIsReadOfPartitionsOfAllSizes(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		want := make(map[string]int)
		for p, size := range []int{readTogether - 1, 1, 1, 0, readWhole, readWhole + 1, 2, readTogether, 0, 3} {
			members := make([]redis.Z, size)
			for i := range members {
				group := fmt.Sprintf("g%d-%d", p, i)
				want[group] = 1 + i%7
				members[i] = redis.Z{Member: group, Score: float64(1 + i%7)}
			}
			for chunk := range slices.Chunk(members, 1000) {
				require.NoError(t, e.store.rdb.ZAdd(t.Context(), heatKey(p), chunk...).Err())
			}
		}
		scores, _, err := e.scores(t)
		require.NoError(t, err)
		require.Len(t, scores, len(want))
		require.True(t, maps.Equal(want, scores))
	})
}

func TestHeatExpiresMoreThanABatch(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		pipe := e.store.rdb.Pipeline()
		const speakers = 2*expireBatch + 5
		p := e.cfg.Partitions.Of("a")
		for i := range speakers {
			pipe.Do(t.Context(), "ZADD", speakersKey(p), i, fmt.Sprint("a|u", i))
		}
		pipe.ZIncrBy(t.Context(), heatKey(p), speakers, "a")
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		scores, _, err := e.scores(t)
		require.NoError(t, err)
		require.Empty(t, scores)
	})
}

// noStore is the MySQL side where everything is in Redis.
type noStore struct{ domain.HeadStore }

func TestRankingHasNeitherDirectConversationsNorSystem(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room), group("b", domain.Room), group("c", domain.Private, "u1"), group("dm:u1:u2", domain.Direct, "u1", "u2"))
		s := e.sender(t, r, AppendConfig{})
		for _, d := range []domain.Draft{
			{Group: "b", From: "u1"},
			{Group: "b", From: "u2"},
			{Group: "b", From: "u2"},
			{Group: "c", From: "u1"},
			{Group: "dm:u1:u2", From: "u1"},
			{Group: "a", From: "u1"},
			{Group: "a", From: domain.SystemUser, Operator: "key"},
		} {
			s.must(t, d)
		}
		heatIsWhole(t, e.store)
		ranking := domain.NewRanking(e.store, domain.NewHeads(e.store, noStore{}), domain.RankingConfig{SnapshotTTL: time.Second})
		page, err := ranking.Page(context.Background(), domain.Actor{Key: "key"}, domain.HotQuery{Type: domain.AllTypes})
		require.NoError(t, err)
		var lines []string
		for _, entry := range page.Entries {
			lines = append(lines, fmt.Sprint(entry.Rank, " ", entry.Group, " ", entry.Heat, " ", entry.Type))
		}
		require.Equal(t, []string{"1 b 2 room", "2 a 1 room", "3 c 1 group"}, lines)
	})
}

func TestSpeakersAreThoseWhoCount(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		groups := append(groupsIn(2, 2), groupsIn(3, 2)...)
		r := e.recovery()
		for _, g := range groups {
			r.groups[g] = group(g, domain.Room)
		}
		s := e.sender(t, r, AppendConfig{})
		want := make(map[domain.GroupUser]int64)
		for i := range 12 {
			d := domain.Draft{Group: groups[i%3], From: fmt.Sprint("u", i%5)}
			want[domain.GroupUser{Group: d.Group, User: d.From}] = s.must(t, d).TimeMS
		}
		old := float64(time.Now().Add(-2 * e.cfg.HeatWindow).UnixMilli()) // who has left, and was not taken out yet
		require.NoError(t, e.store.rdb.ZAdd(t.Context(), speakersKey(2), redis.Z{Score: old, Member: groups[0] + "|old"}).Err())
		speakers, err := e.store.Speakers(t.Context(), groups)
		require.NoError(t, err)
		got := make(map[domain.GroupUser]int64)
		last := make(map[string]int64)
		for _, sp := range speakers {
			got[domain.GroupUser{Group: sp.Group, User: sp.User}] = sp.TimeMS
			require.True(t, last[sp.Group] == 0 || sp.TimeMS <= last[sp.Group], "the latest come first")
			last[sp.Group] = sp.TimeMS
		}
		require.Equal(t, want, got)
		some, err := e.store.Speakers(t.Context(), groups[1:2])
		require.NoError(t, err)
		for _, sp := range some {
			require.Equal(t, groups[1], sp.Group)
		}
		require.Len(t, some, 4)
		none, err := e.store.Speakers(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestSpeakersAreBounded(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		g := groupsIn(2, 2)
		add := func(group string, n int, ms int64) {
			members := make([]redis.Z, n)
			for i := range members {
				members[i] = redis.Z{Score: float64(ms + int64(i)), Member: fmt.Sprint(group, "|u", i)}
			}
			for chunk := range slices.Chunk(members, 1000) {
				require.NoError(t, e.store.rdb.ZAdd(t.Context(), speakersKey(2), chunk...).Err())
			}
			require.NoError(t, e.store.rdb.ZIncrBy(t.Context(), heatKey(2), float64(n), group).Err())
		}
		add(g[0], 6, now-e.cfg.HeatWindow.Milliseconds()-100_000) // who are still to be taken out; all but one have spoken since
		add(g[0], 5, now-100_000)
		add(g[1], 2*explainStep, now-50_000)
		add("nobody-asks", explainStep, now-45_000)
		speakers, err := e.store.Speakers(t.Context(), g)
		require.NoError(t, err)
		told := make(map[string][]string)
		for _, sp := range speakers {
			told[sp.Group] = append(told[sp.Group], sp.User)
		}
		require.Len(t, told, 2)
		require.Equal(t, []string{"u4", "u3", "u2", "u1", "u0"}, told[g[0]], "far behind the others")
		require.Len(t, told[g[1]], explainMost)
		require.Equal(t, fmt.Sprint("u", 2*explainStep-1), told[g[1]][0], "the latest")
	})
}

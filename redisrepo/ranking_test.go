package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// town is groups in which users speak, and all that was said in them: a Redis, and the model that its ranking has to equal.
// It is also the MySQL side of heads.
type town struct {
	domain.HeadStore
	t       *testing.T
	e       *env
	r       *recovery
	s       *sender
	ranking *domain.Ranking
	gen     int64

	said   []spoken
	seqs   map[string]int64
	lastMS map[string]int64
	mutes  map[domain.GroupUser]bool
	gone   map[string]bool
	online map[string]int // viewers, as an instance announced them

	weights domain.HeatWeights
}

var (
	townUsers  = []string{"u1", "u2", "u3", "u4", "u5", domain.SystemUser}
	townGroups = func() (groups []string) {
		for _, p := range []int{2, 3, 9, 15} { // two of these lie on each master of a cluster of two
			groups = append(groups, groupsIn(p, 2)...)
		}
		return groups
	}()
)

func newTown(t *testing.T, e *env, weights domain.HeatWeights) *town {
	w := &town{t: t, e: e, r: e.recovery(), gen: 1, weights: weights}
	e.store.cfg.CountMessages = weights.Messages > 0
	w.s = e.sender(t, w.r, AppendConfig{})
	w.ranking = domain.NewRanking(e.store, domain.NewHeads(e.store, w), domain.RankingConfig{SnapshotTTL: time.Minute, Weights: weights})
	return w
}

// begin forgets everything.
func (w *town) begin(rt *rapid.T) {
	w.said, w.seqs, w.lastMS = nil, map[string]int64{}, map[string]int64{}
	w.mutes, w.gone, w.online = map[domain.GroupUser]bool{}, map[string]bool{}, map[string]int{}
	w.empty(rt)
	for i, g := range townGroups {
		typ := domain.Room
		if i%4 == 3 {
			typ = domain.Private
		}
		w.set(group(g, typ, townUsers[:5]...))
	}
}

// empty takes everything from Redis, and begins a new generation.
func (w *town) empty(rt *rapid.T) {
	err := error(nil)
	if cluster, ok := w.e.store.rdb.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(w.t.Context(), func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
	} else {
		err = w.e.store.rdb.FlushAll(w.t.Context()).Err()
	}
	require.NoError(rt, err)
	w.r.mu.Lock()
	for _, g := range townGroups {
		w.r.seeds[g] = domain.Seed{Start: w.seqs[g], LastMS: w.lastMS[g]}
	}
	w.r.mu.Unlock()
	w.gen++
	w.e.raise(w.t, w.gen)
	heatIsWhole(w.t, w.e.store)
}

func (w *town) set(s *domain.GroupSnapshot) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.groups[s.ID] = s
}

// change makes a group's next version and tells Redis.
func (w *town) change(rt *rapid.T, id string, do func(*domain.GroupSnapshot)) {
	w.r.mu.Lock()
	next := *w.r.groups[id]
	w.r.mu.Unlock()
	next.Members = slices.Clone(next.Members)
	next.Version++
	do(&next)
	w.set(&next)
	require.NoError(rt, w.e.store.FillGroup(w.t.Context(), &next))
}

func (w *town) Snapshot(_ context.Context, id string) (*domain.GroupSnapshot, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.r.groups[id], nil
}

func (w *town) LiveTypes(_ context.Context, groups []string) (map[string]domain.GroupType, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	types := make(map[string]domain.GroupType)
	for _, g := range groups {
		if !w.r.groups[g].Dismissed {
			types[g] = w.r.groups[g].Type
		}
	}
	return types, nil
}

func (w *town) Floors(_ context.Context, groups []string) (map[string]domain.Floor, error) {
	floors := make(map[string]domain.Floor)
	for _, g := range groups {
		floors[g] = domain.Floor{MaxSeq: w.seqs[g], LastMS: w.lastMS[g]}
	}
	return floors, nil
}

func (w *town) send(rt *rapid.T) {
	d := domain.Draft{
		Group:    rapid.SampledFrom(townGroups).Draw(rt, "group"),
		From:     rapid.SampledFrom(townUsers).Draw(rt, "user"),
		ClientID: rapid.SampledFrom([]string{"", "", "again"}).Draw(rt, "client_id"),
	}
	if d.From == domain.SystemUser || rapid.IntRange(0, 4).Draw(rt, "app server") == 0 {
		d.Operator = "key"
	}
	got := await(w.t, w.s.post(d))
	switch {
	case got.err == nil && got.Duplicate: // of one from before a mute or not: it changes nothing
	case w.gone[d.Group]:
		require.Equal(rt, domain.CodeGone, domain.CodeOf(got.err))
	case d.Operator == "" && w.mutes[domain.GroupUser{Group: d.Group, User: d.From}]:
		require.Equal(rt, domain.CodeMuted, domain.CodeOf(got.err))
	default:
		require.NoError(rt, got.err)
		w.seqs[d.Group], w.lastMS[d.Group] = got.Seq, got.TimeMS
		if d.From != domain.SystemUser {
			w.said = append(w.said, spoken{d.Group, d.From, got.TimeMS, got.Seq})
		}
	}
}

func (w *town) mute(rt *rapid.T) {
	u := domain.GroupUser{Group: rapid.SampledFrom(townGroups).Draw(rt, "group"), User: rapid.SampledFrom(townUsers[:5]).Draw(rt, "user")}
	w.mutes[u] = !w.mutes[u]
	w.change(rt, u.Group, func(g *domain.GroupSnapshot) {
		for i := range g.Members {
			if g.Members[i].User == u.User {
				g.Members[i].MuteUntilMS = 0
				if w.mutes[u] {
					g.Members[i].MuteUntilMS = domain.MuteForever
				}
			}
		}
	})
}

func (w *town) recall(rt *rapid.T) {
	g := rapid.SampledFrom(townGroups).Draw(rt, "group")
	order := domain.RecallOrder{Group: g, Seq: max(1, w.seqs[g]), Actor: domain.Actor{Key: "key"}}
	_, _ = w.e.store.Recall(w.t.Context(), order) // whatever comes of it, the ranking stays
}

func (w *town) dismiss(rt *rapid.T) {
	g := rapid.SampledFrom(townGroups[:4]).Draw(rt, "group")
	w.gone[g] = true
	w.r.mu.Lock()
	dismissed := *w.r.groups[g]
	w.r.mu.Unlock()
	dismissed.Version++
	dismissed.Dismissed = true
	w.set(&dismissed)
	require.NoError(rt, w.e.store.Changed(w.t.Context(), &domain.GroupChange{Group: dismissed.Group, Raised: true}))
	if rapid.Bool().Draw(rt, "forget") {
		_, err := w.e.store.ForgetGroup(w.t.Context(), g)
		require.NoError(rt, err)
	}
}

// watch has some come to a group to look, or go.
func (w *town) watch(rt *rapid.T) {
	g := rapid.SampledFrom(townGroups).Draw(rt, "group")
	if !w.gone[g] {
		w.online[g] = rapid.IntRange(0, 4).Draw(rt, "viewers")
	}
}

// lose empties Redis and brings back what MySQL knows, as the job does.
func (w *town) lose(rt *rapid.T) {
	w.empty(rt)
	of := make(map[int][]domain.Speaker)
	messages := make(map[int][]domain.MessageTime)
	for _, m := range w.said {
		if w.gone[m.group] { // MySQL leaves them out
			continue
		}
		p := w.e.cfg.Partitions.Of(m.group)
		of[p] = append(of[p], domain.Speaker{Group: m.group, User: m.user, TimeMS: m.ms})
		messages[p] = append(messages[p], domain.MessageTime{Group: m.group, Seq: m.seq, TimeMS: m.ms})
	}
	for p := range testPartitions {
		gen := domain.LogRange{Partition: p, Gen: w.gen}
		require.NoError(rt, w.e.store.AddHeat(w.t.Context(), gen, of[p]))
		if w.weights.Messages > 0 {
			require.NoError(rt, w.e.store.AddMessages(w.t.Context(), gen, messages[p], true))
		}
	}
}

// age makes all that was said older by so much: how time passes on a server whose clock nobody can set.
func (w *town) age(rt *rapid.T, by time.Duration) {
	ctx := w.t.Context()
	pipe := w.e.store.rdb.Pipeline()
	cmds := make(map[string]*redis.ZSliceCmd)
	for p := range testPartitions {
		for _, key := range []string{speakersKey(p), messagesKey(p)} {
			cmds[key] = pipe.ZRangeWithScores(ctx, key, 0, -1)
		}
	}
	_, err := pipe.Exec(ctx)
	require.NoError(rt, err)
	for key, c := range cmds {
		older := c.Val()
		for i := range older {
			older[i].Score -= float64(by.Milliseconds())
		}
		if len(older) > 0 {
			pipe.ZAdd(ctx, key, older...)
		}
	}
	_, err = pipe.Exec(ctx)
	require.NoError(rt, err)
	for i := range w.said {
		w.said[i].ms -= by.Milliseconds()
	}
}

// same compares the ranking of a type, and who is told to count in it, with the model.
func (w *town) same(rt *rapid.T) {
	typ := rapid.SampledFrom([]string{domain.AllTypes, string(domain.Room), string(domain.Private)}).Draw(rt, "type")
	require.NoError(rt, w.e.store.rdb.Del(w.t.Context(), hotKey(typ)).Err())
	_, err := w.e.store.Announce(w.t.Context(), "instance", w.online) // again and again, as instances do
	require.NoError(rt, err)
	page, err := w.ranking.Page(w.t.Context(), domain.Actor{Key: "key"}, domain.HotQuery{Type: typ, Limit: 200, Explain: true})
	require.NoError(rt, err)
	after := page.TimeMS - w.e.cfg.HeatWindow.Milliseconds()
	var want []domain.HotEntry
	messages := make(map[string]int)
	for _, m := range w.said {
		if m.ms > after {
			messages[m.group]++
		}
	}
	speakers := make(map[domain.GroupUser]int64)
	for g, heat := range heatOf(w.said, after) {
		snapshot, _ := w.Snapshot(w.t.Context(), g)
		if w.gone[g] || typ != domain.AllTypes && typ != string(snapshot.Type) {
			continue
		}
		heat = w.weights.Speakers*heat + w.weights.Messages*messages[g] + w.weights.Online*w.online[g]
		if heat == 0 {
			continue
		}
		want = append(want, domain.HotEntry{
			Group: g, Name: snapshot.Name, Type: snapshot.Type, Heat: heat, Online: w.online[g], LastMS: w.lastMS[g],
		})
		if w.weights.Messages > 0 {
			require.Equal(rt, messages[g], page.Messages[g])
		}
		for _, m := range w.said {
			if m.group == g && m.ms > after {
				speakers[domain.GroupUser{Group: g, User: m.user}] = m.ms // said is in the order of time
			}
		}
	}
	for i := range want {
		want[i].Rank = 1
		for _, o := range want {
			if a := want[i]; o.Heat > a.Heat || o.Heat == a.Heat && (o.LastMS > a.LastMS || o.LastMS == a.LastMS && o.Group < a.Group) {
				want[i].Rank++
			}
		}
	}
	slices.SortFunc(want, func(a, b domain.HotEntry) int { return a.Rank - b.Rank })
	if diff := cmp.Diff(want, page.Entries); len(want)+len(page.Entries) > 0 && diff != "" {
		rt.Fatalf("ranking of %s (-model +Redis):\n%s", typ, diff)
	}
	told := make(map[domain.GroupUser]int64)
	for g, list := range page.Speakers {
		for _, s := range list {
			told[domain.GroupUser{Group: g, User: s.User}] = s.TimeMS
		}
	}
	if diff := cmp.Diff(speakers, told); diff != "" {
		rt.Fatalf("speakers of %s (-model +Redis):\n%s", typ, diff)
	}
}

// check does random things, and compares behind each. pass lets time pass.
func (w *town) check(pass func(rt *rapid.T)) {
	things := map[string]func(*rapid.T){
		"send": w.send, "mute": w.mute, "recall": w.recall, "dismiss": w.dismiss, "lose": w.lose, "pass": pass, "watch": w.watch,
	}
	often := append(slices.Sorted(maps.Keys(things)), "send", "send", "send", "send", "send", "send", "pass")
	rapid.Check(w.t, func(rt *rapid.T) {
		w.begin(rt)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			things[rapid.SampledFrom(often).Draw(rt, "what")](rt)
			w.same(rt)
		}
	})
}

// Whatever happens in whatever order, the ranking is what counting all messages by brute force gives, at every step.
func TestTheRankingIsACountOfAllMessages(t *testing.T) {
	t.Parallel()
	countTheTown(t, domain.HeatWeights{Speakers: 1})
}

func TestTheRankingIsAWeighedCountOfAllMessages(t *testing.T) {
	t.Parallel()
	countTheTown(t, domain.HeatWeights{Speakers: 3, Messages: 2, Online: 5})
}

func countTheTown(t *testing.T, weights domain.HeatWeights) {
	t.Helper()
	t.Run("miniredis, to the millisecond", func(t *testing.T) {
		t.Parallel()
		byTheMillisecond(t, weights)
	})
	// By the minute: a run that takes less knows what is in the window.
	for name, start := range map[string]func(*testing.T) *env{
		"redis":   func(t *testing.T) *env { t.Helper(); return newReal(t) },
		"cluster": newCluster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, start(t), weights)
			w.check(func(rt *rapid.T) { w.age(rt, time.Duration(rapid.IntRange(1, 6).Draw(rt, "minutes"))*time.Minute) })
		})
	}
}

func byTheMillisecond(t *testing.T, weights domain.HeatWeights) {
	t.Helper()
	e := newMini(t)
	window := e.cfg.HeatWindow.Milliseconds()
	now := int64(1_700_000_000_000)
	e.mini.SetTime(time.UnixMilli(now))
	newTown(t, e, weights).check(func(rt *rapid.T) {
		now += rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, window), rapid.Just(window)).Draw(rt, "ms")
		e.mini.SetTime(time.UnixMilli(now))
	})
}

// Who scrolls through 500 groups sees each of his snapshot once and under its number, but those that were dismissed before he
// came to them, while ranks change and others take new snapshots under him.
func TestPagesOfAMovingRanking(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		const groups = 500
		now, err := e.store.NowMS(ctx)
		require.NoError(t, err)
		var ids []string
		of := make(map[int][]domain.Speaker)
		seeds := make(map[int]map[string]domain.Seed)
		for i := range groups {
			id := fmt.Sprint("room", i)
			ids = append(ids, id)
			p := e.cfg.Partitions.Of(id)
			for u := range 1 + i%7 {
				of[p] = append(of[p], domain.Speaker{Group: id, User: fmt.Sprint("u", u), TimeMS: now})
			}
			if seeds[p] == nil {
				seeds[p] = make(map[string]domain.Seed)
			}
			seeds[p][id] = domain.Seed{Start: 1, LastMS: now - int64(i%3)}
			require.NoError(t, e.store.FillGroup(ctx, group(id, domain.Room)))
		}
		for p := range testPartitions {
			require.NoError(t, e.store.SetSeeds(ctx, p, 1, seeds[p]))
			require.NoError(t, e.store.AddHeat(ctx, domain.LogRange{Partition: p, Gen: 1}, of[p]))
		}
		ranking := domain.NewRanking(e.store, domain.NewHeads(e.store, noStore{}), domain.RankingConfig{SnapshotTTL: time.Minute})
		user := domain.Actor{User: "ann"}
		first, err := ranking.Page(ctx, user, domain.HotQuery{Limit: 1})
		require.NoError(t, err)
		whole, total, _, err := e.store.SnapshotPage(ctx, "room", first.ID, 0, groups, time.Minute)
		require.NoError(t, err)
		require.Equal(t, groups, total)
		for i := range whole.Entries {
			entry := &whole.Entries[i]
			entry.Name, entry.Type = "name of "+entry.Group, domain.Room
		}
		var got, want []domain.HotEntry
		gone := make(map[string]bool)
		snapshots := make(map[string]bool)
		from := 0
		for query := (domain.HotQuery{Limit: 37}); ; {
			page, err := ranking.Page(ctx, user, query)
			require.NoError(t, err)
			require.Equal(t, first.ID, page.ID)
			got = append(got, page.Entries...)
			for _, entry := range whole.Entries[from:min(from+query.Limit, groups)] {
				if !gone[entry.Group] {
					want = append(want, entry)
				}
			}
			if query.Cursor, from = page.Cursor, from+query.Limit; query.Cursor == "" {
				break
			}
			for range 20 { // the world moves on
				id := ids[rand.IntN(groups)]
				var crowd []domain.Speaker
				for u := range rand.IntN(40) {
					crowd = append(crowd, domain.Speaker{Group: id, User: fmt.Sprint("v", u), TimeMS: now})
				}
				require.NoError(t, e.store.AddHeat(ctx, e.log(id), crowd))
			}
			for range 5 {
				id := ids[rand.IntN(groups)]
				dismissed := group(id, domain.Room)
				dismissed.Dismissed, dismissed.Version = true, 2
				require.NoError(t, e.store.FillGroup(ctx, dismissed))
				gone[id] = true
			}
			require.NoError(t, e.store.rdb.Del(ctx, hotKey("room")).Err())
			other, err := ranking.Page(ctx, domain.Actor{User: "bob"}, domain.HotQuery{Limit: 200})
			require.NoError(t, err)
			snapshots[other.ID] = true
			for _, entry := range other.Entries {
				require.False(t, gone[entry.Group], entry.Group)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages, put together (-snapshot +pages):\n%s", diff)
		}
		seen := make(map[string]bool)
		for i, entry := range got {
			require.False(t, seen[entry.Group], "%s twice", entry.Group)
			require.True(t, i == 0 || entry.Rank > got[i-1].Rank)
			seen[entry.Group] = true
		}
		require.Greater(t, len(snapshots), 10)
	})
}

// fleet is several instances on one Redis, each with a store of its own, and what they did together.
type fleet struct {
	hold time.Duration // how long a turn lasts; 0: as long as they want

	mu    sync.Mutex // guards what follows
	begun []int64    // when snapshots were begun, by Redis' clock
	toDie int        // so many of the instances that begin next die of it
	dead  map[*instance]bool
	seen  map[string]bool // snapshots
}

type instance struct {
	*Store
	*fleet
}

var errDead = errors.New("the instance is dead")

func (i *instance) err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead[i] {
		return errDead
	}
	return nil
}

func (i *instance) Heat(ctx context.Context) ([]domain.GroupHeat, int64, error) {
	groups, now, err := i.Store.Heat(ctx)
	if err != nil { // at the end of the test
		return nil, 0, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun = append(i.begun, now)
	if i.toDie > 0 {
		i.toDie--
		i.dead[i] = true
		err = errDead
	}
	return groups, now, err
}

func (i *instance) SnapshotTurn(ctx context.Context, typ, token string, hold time.Duration) (domain.SnapshotTurn, error) {
	if err := i.err(); err != nil {
		return domain.SnapshotTurn{}, err
	}
	if i.hold > 0 {
		hold = i.hold
	}
	return i.Store.SnapshotTurn(ctx, typ, token, hold)
}

func (i *instance) NoSnapshot(ctx context.Context, typ, token string) error {
	if err := i.err(); err != nil {
		return err
	}
	return i.Store.NoSnapshot(ctx, typ, token)
}

const askers = 12

// ask has some instances ask all the time, each for two users, until the snapshots they have seen are enough.
func (f *fleet) ask(t *testing.T, e *env, ttl time.Duration, enough func() bool) {
	t.Helper()
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	heatIsWhole(t, e.store)
	f.dead, f.seen = make(map[*instance]bool), make(map[string]bool)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var asking sync.WaitGroup
	for range askers / 2 {
		i := &instance{Store: e.open(t, e.addr), fleet: f}
		ranking := domain.NewRanking(i, domain.NewHeads(i, noStore{}), domain.RankingConfig{SnapshotTTL: ttl})
		for range 2 {
			asking.Go(func() {
				for {
					page, err := ranking.Page(ctx, domain.Actor{User: "u"}, domain.HotQuery{})
					if i.err() != nil || ctx.Err() != nil {
						return
					}
					if err != nil || len(page.Entries) != 1 {
						t.Errorf("got %+v, %v; want one group", page, err)
						cancel()
						return
					}
					f.mu.Lock()
					f.seen[page.ID] = true
					if enough() {
						cancel()
					}
					f.mu.Unlock()
				}
			})
		}
	}
	asking.Wait()
	require.ErrorIs(t, ctx.Err(), context.Canceled, "%d snapshots begun, %d seen", len(f.begun), len(f.seen))
}

func TestInstancesTakeOneSnapshotInATTL(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const ttl = 100 * time.Millisecond
		f := &fleet{hold: time.Hour} // or one that stands still for a second would lose its turn, on a busy machine
		f.ask(t, e, ttl, func() bool { return len(f.seen) == 10 })
		for n := 1; n < len(f.begun); n++ {
			require.GreaterOrEqual(t, f.begun[n]-f.begun[n-1], ttl.Milliseconds())
		}
		require.LessOrEqual(t, len(f.begun), 10+askers, "those that were seen, and what each has taken and not looked at yet")
	})
}

func TestInstancesGoOnWhenTheOneDiesThatTakesTheSnapshot(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		f := &fleet{}
		killed := 0
		f.ask(t, e, 100*time.Millisecond, func() bool {
			if len(f.seen) >= 3*(killed+1) && len(f.dead) == killed && killed < 2 { // the last one before is left to some
				f.toDie = 1
				killed++
			}
			return len(f.seen) == 12
		})
		require.Len(t, f.dead, 2)
	})
}

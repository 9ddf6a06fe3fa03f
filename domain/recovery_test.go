package domain_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fakeSeeds starts every group at gen millions.
type fakeSeeds struct{ down error }

func (f fakeSeeds) Seed(_ context.Context, _ int, gen int64, groups []string) (map[string]domain.Seed, error) {
	seeds := map[string]domain.Seed{}
	for _, group := range groups {
		seeds[group] = domain.Seed{Start: gen * 1_000_000}
	}
	return seeds, f.down
}

func TestRecoveryBringsBackWhatAnAppendMisses(t *testing.T) {
	t.Parallel()
	w, p := newWorld(), agreed(3)
	gens, _ := newGenerations(p)
	r := domain.NewRecovery(gens, w.heads, fakeSeeds{}, w.redis)
	w.add(domain.Group{ID: "g", Type: domain.Room})

	require.NoError(t, r.Renew(ctx, 0, 0))
	require.Equal(t, int64(3), gens.Of(0))
	require.NoError(t, r.Load(ctx, "g", false))
	require.Contains(t, w.redis.groups, "g")
	requireCode(t, r.Load(ctx, "nowhere", false), domain.CodeNotFound, "")
	require.NoError(t, r.Seed(ctx, 0, 3, []string{"g", "h"}))
	require.Equal(t, map[string]domain.Seed{"g": {Start: 3_000_000}, "h": {Start: 3_000_000}}, w.redis.seeds)
}

func TestRecoveryIsUnavailableWhenAStoreIsDown(t *testing.T) {
	t.Parallel()
	w, p := newWorld(), agreed(3)
	gens, _ := newGenerations(p)
	w.add(domain.Group{ID: "g", Type: domain.Room})

	r := domain.NewRecovery(gens, w.heads, fakeSeeds{errDown}, w.redis)
	requireCode(t, r.Seed(ctx, 0, 3, []string{"g"}), domain.CodeUnavailable, "")
	require.Zero(t, w.redis.calls["SetSeeds"], "no seed is a guess")

	w.redis.down, p.fail = errDown, map[string]error{"observe": errDown}
	r = domain.NewRecovery(gens, w.heads, fakeSeeds{}, w.redis)
	requireCode(t, r.Seed(ctx, 0, 3, []string{"g"}), domain.CodeUnavailable, "")
	requireCode(t, r.Load(ctx, "g", true), domain.CodeUnavailable, "")
	requireCode(t, r.Renew(ctx, 0, 0), domain.CodeUnavailable, "")
}

// opener makes what it is asked for in MySQL, or fails.
type opener struct {
	w     *world
	err   error
	asked []string
}

func (o *opener) OpenDirect(_ context.Context, group string) error {
	o.asked = append(o.asked, group)
	if o.err == nil {
		o.w.add(domain.Group{ID: group, Type: domain.Direct})
	}
	return o.err
}

func TestLoadOpensADirectConversationThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld()
	gens, _ := newGenerations(agreed(3))
	r := domain.NewRecovery(gens, w.heads, fakeSeeds{}, w.redis)
	o := &opener{w: w}
	r.UseOpener(o)

	requireCode(t, r.Load(ctx, "dm:ann:bob", false), domain.CodeNotFound, "")
	require.Empty(t, o.asked, "nobody said open")
	for range 2 {
		require.NoError(t, r.Load(ctx, "dm:ann:bob", true))
		require.Contains(t, w.redis.groups, "dm:ann:bob")
	}
	require.Equal(t, []string{"dm:ann:bob"}, o.asked, "once")

	o.err = domain.Unavailable(errDown, "MySQL")
	require.ErrorIs(t, r.Load(ctx, "dm:ann:cleo", true), errDown)
	w.mysql.down, o.asked = errDown, nil
	requireCode(t, r.Load(ctx, "dm:ann:dora", true), domain.CodeUnavailable, "")
	require.Empty(t, o.asked, "what cannot be read may be there")
}

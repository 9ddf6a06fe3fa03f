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
	require.NoError(t, r.Load(ctx, "g"))
	require.Contains(t, w.redis.groups, "g")
	requireCode(t, r.Load(ctx, "nowhere"), domain.CodeNotFound, "")
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
	requireCode(t, r.Load(ctx, "g"), domain.CodeUnavailable, "")
	requireCode(t, r.Renew(ctx, 0, 0), domain.CodeUnavailable, "")
}

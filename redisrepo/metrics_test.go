package redisrepo

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// counts are how often each limit has refused a send.
func (s *sender) counts() map[string]float64 {
	counts := map[string]float64{}
	for word, c := range s.metrics.limited {
		if n := testutil.ToFloat64(c); n > 0 {
			counts[word] = n
		}
	}
	return counts
}

func TestRefusalsAndRepeatsAreCounted(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	e.mini.SetTime(time.UnixMilli(1_700_000_000_000)) // stands still
	r := e.recovery(group("a", domain.Room), group("b", domain.Room))
	s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 2, GroupRate: 5, BacklogLimit: 8})
	first := domain.Draft{Group: "a", From: "u", ClientID: "c"}
	s.must(t, first)
	require.True(t, s.must(t, first).Duplicate)
	s.refused(t, domain.CodeConflict, domain.Draft{Group: "a", From: "u", ClientID: "c", Body: text("other")})
	s.must(t, domain.Draft{Group: "a", From: "u"})
	require.Empty(t, s.counts())
	s.refused(t, domain.CodeRateLimited, domain.Draft{Group: "a", From: "u"})
	for range 3 {
		s.must(t, domain.Draft{Group: "a", From: "u", Operator: "key"})
	}
	s.refused(t, domain.CodeRateLimited, domain.Draft{Group: "a", From: "v"})
	require.Equal(t, map[string]float64{"USER_RATE": 1, "GROUP_RATE": 1}, s.counts())
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.duplicates), 0)

	same := groupsIn(e.cfg.Partitions.Of("a"), 2)
	r.groups[same[0]], r.groups[same[1]] = group(same[0], domain.Room), group(same[1], domain.Room)
	for range 3 {
		s.must(t, domain.Draft{Group: same[0], From: "u", Operator: "key"})
	}
	s.refused(t, domain.CodeOverloaded, domain.Draft{Group: same[0], From: "u", Operator: "key"})
	require.Equal(t, map[string]float64{"USER_RATE": 1, "GROUP_RATE": 1, "BACKLOG": 1}, s.counts())
}

func TestGroupsThatGoOnAboveAHoleAreCounted(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	require.NoError(t, e.store.SetSeeds(t.Context(), 1, 1, map[string]domain.Seed{"new": {}, "old": {Start: 1_000_000}, "older": {Start: 7}}))
	require.InDelta(t, 2, testutil.ToFloat64(e.store.reseeds), 0)
	require.Error(t, e.store.SetSeeds(t.Context(), 1, 7, map[string]domain.Seed{"late": {Start: 5}}))
	require.InDelta(t, 2, testutil.ToFloat64(e.store.reseeds), 0)
}

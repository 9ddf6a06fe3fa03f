package domain_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// repairStores are both sides of a repair: they note what they are told, in order.
type repairStores struct {
	holes  map[string]domain.Holes
	onSet  func()
	failed string // group whose holes cannot be set
	told   []string
}

func (s *repairStores) Holes(_ context.Context, group string) (domain.Holes, error) {
	return s.holes[group], nil
}

func (s *repairStores) SetHoles(_ context.Context, group string, holes domain.Holes) error {
	if group == s.failed {
		return errDown
	}
	s.told = append(s.told, group+" has "+strconv.FormatInt(holes.Count(0, 1<<53), 10))
	if s.onSet != nil {
		s.onSet()
	}
	return nil
}

func (s *repairStores) PublishRepair(_ context.Context, group string, after int64) error {
	s.told = append(s.told, group+" repaired above "+strconv.FormatInt(after, 10))
	return nil
}

func TestRepairIsToldWhenRedisHasTheHoles(t *testing.T) {
	t.Parallel()
	s := &repairStores{holes: map[string]domain.Holes{"a": {{From: 2, To: 4}}}}
	require.NoError(t, domain.NewRepairer(s, s).Repaired(t.Context(), map[string]int64{"b": 1, "a": 5}))
	require.Equal(t, []string{"a has 3", "a repaired above 4", "b has 0", "b repaired above 0"}, s.told)
}

func TestRepairTakesOverWhatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	s := &repairStores{holes: map[string]domain.Holes{"a": {{From: 2, To: 4}}}}
	changes := []domain.Holes{{{From: 2, To: 3}}, nil}
	s.onSet = func() {
		if len(changes) > 0 {
			s.holes["a"], changes = changes[0], changes[1:]
		}
	}
	require.NoError(t, domain.NewRepairer(s, s).Repaired(t.Context(), map[string]int64{"a": 3}))
	require.Equal(t, []string{"a has 3", "a has 2", "a has 0", "a repaired above 2"}, s.told)
}

func TestARepairThatFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := &repairStores{failed: "b"}
	filled := map[string]int64{"a": 1, "b": 2, "c": 3}
	err := domain.NewRepairer(s, s).Repaired(t.Context(), filled)
	require.Equal(t, domain.CodeUnavailable, domain.CodeOf(err))
	require.True(t, errors.Is(err, errDown))
	require.Contains(t, err.Error(), "repair b")
	require.False(t, slices.ContainsFunc(s.told, func(w string) bool { return strings.HasPrefix(w, "b ") }), "nobody is told of what is not there: %v", s.told)
	require.Contains(t, s.told, "c repaired above 2")
	require.Equal(t, map[string]int64{"b": 2}, filled, "what is left to be done")
}

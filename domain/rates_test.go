package domain_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

const ratesNow = int64(1_700_000_001_234)

func TestFleetRatesAreALineAnInstance(t *testing.T) {
	t.Parallel()
	end := ratesNow / 2000 * 2000
	from := end - 900_000
	status := func(name string, ms int64, messages float64) domain.InstanceStatus {
		return domain.InstanceStatus{Name: name, SeenMS: ms, MessagesPerS: &messages, DeliveriesPerS: value(10 * messages)}
	}
	chart := domain.FleetRatesOf(ratesNow, [][]domain.InstanceStatus{
		{status("a", from-1000, 1), status("a", from+3000, 2)}, // dead since
		{},
		{status("b", end-5900, 5), status("b", end-2100, 6), status("b", end-100, 7), status("b", end+50, 8)},
		{status("a", end-1000, 9)}, // another life of a
	})
	require.Equal(t, domain.Rates{StepMS: 2000, FromMS: from}, chart.Rates)
	require.Len(t, chart.Instances, 2)
	a, b := chart.Instances[0], chart.Instances[1]
	require.Equal(t, []string{"a", "b"}, []string{a.Name, b.Name})
	require.Len(t, a.Messages, 450)
	require.Equal(t, []*float64{value(1.0), value(2.0), value(2.0), value(2.0), nil}, a.Messages[:5], "the last word holds for six seconds")
	require.Equal(t, []*float64{value(10.0), value(20.0)}, a.Deliveries[:2])
	require.Equal(t, []*float64{nil, value(9.0)}, a.Messages[448:])
	require.Equal(t, []*float64{nil, value(5.0), value(6.0), value(7.0)}, b.Messages[446:], "what is not over is not shown")

	empty := domain.FleetRatesOf(ratesNow, nil)
	require.NotNil(t, empty.Instances)
	require.Less(t, domain.RatesSince(ratesNow), from, "what was said before holds in the first step")
}

// rateStores has the messages of one group by seq; those up to the watermark are in MySQL, too.
type rateStores struct {
	times     []int64
	watermark int64
	unknown   bool // Redis has no watermark
	err       error
}

func (s *rateStores) Unpersisted(_ context.Context, _ string, sinceMS int64, _ int) (watermark int64, times []int64, known bool, err error) {
	if s.unknown {
		return 0, nil, false, nil
	}
	for _, ms := range s.times[s.watermark:] {
		if ms >= sinceMS {
			times = append(times, ms)
		}
	}
	return s.watermark, times, true, nil
}

func (s *rateStores) MessageCounts(_ context.Context, _ string, sinceMS, stepMS, upTo int64) (map[int64]int64, error) {
	counts := make(map[int64]int64)
	for i, ms := range s.times { // some above the watermark: the persister is ahead of what Redis said
		if ms >= sinceMS && int64(i+1) <= upTo {
			counts[ms/stepMS*stepMS]++
		}
	}
	return counts, s.err
}

func TestEachMessageCountsOnceInAGroupsRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		end := ratesNow / 5000 * 5000
		from := end - 900_000
		s := &rateStores{unknown: rapid.Bool().Draw(t, "unknown")}
		ms, within := from-10_000, 0.0
		for range rapid.IntRange(0, 200).Draw(t, "messages") {
			ms += int64(rapid.IntRange(0, 20_000).Draw(t, "gap"))
			s.times = append(s.times, ms)
			if ms >= from && ms < end {
				within++
			}
		}
		s.watermark = int64(rapid.IntRange(0, len(s.times)).Draw(t, "watermark"))
		rates, err := domain.GroupRatesOf(context.Background(), s, s, "tea", ratesNow)
		require.NoError(t, err)
		require.Equal(t, domain.Rates{StepMS: 5000, FromMS: from}, rates.Rates)
		require.Len(t, rates.Messages, 180)
		sum := 0.0
		for step, rate := range rates.Messages {
			sum += rate * 5
			inStep := 0.0
			for _, ms := range s.times {
				if ms/5000*5000 == from+int64(step)*5000 {
					inStep++
				}
			}
			require.InDelta(t, inStep/5, rate, 1e-9)
		}
		require.InDelta(t, within, sum, 1e-6)
	})
}

func TestAGroupsRateIsNotKnownWithoutMySQL(t *testing.T) {
	t.Parallel()
	s := &rateStores{err: errDown}
	_, err := domain.GroupRatesOf(t.Context(), s, s, "tea", ratesNow)
	require.Equal(t, domain.CodeUnavailable, domain.CodeOf(err))
	_, err = domain.GroupRatesOf(t.Context(), s, s, "no group", ratesNow)
	require.Equal(t, domain.CodeBadRequest, domain.CodeOf(err))
}

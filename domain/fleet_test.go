package domain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func value[N any](v N) *N { return &v }

func TestTotalsAddUpAndTakeTheWorst(t *testing.T) {
	t.Parallel()
	require.Equal(t, domain.FleetTotals{}, domain.TotalsOf(nil), "nobody knows anything")
	got := domain.TotalsOf([]domain.InstanceStatus{
		{
			SeenMS: 100_000, MessagesPerS: value(1.5), DeliveriesPerS: value(10.0), Connections: value(int64(5)), Users: value(int64(4)),
			Backlog: value(int64(7)), LagMS: value(int64(30)), P99MS: value(2.5), DeadLetters: value(int64(1)),
		},
		{
			SeenMS: 98_000, MessagesPerS: value(2.0), Connections: value(int64(6)), Backlog: value(int64(8)), LagMS: value(int64(20)),
			P99MS: value(9.5), DeadLetters: value(int64(3)),
		},
		{SeenMS: 91_000, MessagesPerS: value(50.0), Connections: value(int64(60))}, // killed, and not known to be dead
	})
	require.Equal(t, domain.FleetTotals{
		MessagesPerS: value(3.5), DeliveriesPerS: value(10.0), Connections: value(int64(11)), Users: value(int64(4)),
		Backlog: value(int64(15)), LagMS: value(int64(30)), P99MS: value(9.5), DeadLetters: value(int64(3)),
	}, got)
}

func TestALifeNamesItsInstance(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "a#b", "pod-7.eu"} {
		require.Equal(t, name, domain.InstanceOf(domain.LifeOf(name, "c0ffee")))
	}
	require.Equal(t, "a", domain.InstanceOf("a"))
}

func TestTotalsHaveTwoDigits(t *testing.T) {
	t.Parallel()
	rate := func(v float64) domain.InstanceStatus { return domain.InstanceStatus{MessagesPerS: &v} }
	total := domain.TotalsOf([]domain.InstanceStatus{rate(1.1), rate(2.2), rate(0.03)})
	require.Equal(t, `{"messages_per_s":3.33}`, asJSON(t, total))
}

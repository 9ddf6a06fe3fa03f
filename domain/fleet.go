package domain

import (
	"math"
	"strings"
	"time"
)

// What instances tell of themselves, and for how long it is kept.
const (
	StatusInterval = 2 * time.Second
	StatusKept     = 15 * time.Minute
)

// LifeOf names one life of an instance: a restarted one is another.
func LifeOf(instance, mark string) string { return instance + "#" + mark }

// InstanceOf is the name of the instance whose life this is.
func InstanceOf(life string) string {
	if i := strings.LastIndexByte(life, '#'); i >= 0 {
		return life[:i]
	}
	return life
}

// InstanceStatus is what an instance tells of itself every StatusInterval. A number that is not known is nil: nobody must
// take it for 0. Rates and P99MS are of the last ten seconds.
type InstanceStatus struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	StartedMS int64  `json:"started_ms"` // by the instance's own clock
	SeenMS    int64  `json:"seen_ms"`    // when it was told, by Redis' clock
	Draining  bool   `json:"draining"`
	Ready     bool   `json:"ready"`

	Connections *int64 `json:"connections,omitempty"`
	Users       *int64 `json:"users,omitempty"`
	Groups      *int64 `json:"groups,omitempty"`

	MessagesPerS   *float64 `json:"messages_per_s,omitempty"`
	DeliveriesPerS *float64 `json:"deliveries_per_s,omitempty"`
	P99MS          *float64 `json:"p99_ms,omitempty"` // from a send's frame to its answer; nil also while nobody sends
	CanaryAgeMS    *int64   `json:"canary_age_ms,omitempty"`

	Backlog     *int64   `json:"backlog,omitempty"` // accepted and not in MySQL, of the partitions it persists
	LagMS       *int64   `json:"lag_ms,omitempty"`  // age of the oldest of them, or of the last ones when they were stored
	RowsPerS    *float64 `json:"rows_per_s,omitempty"`
	DeadLetters *int64   `json:"dead_letters,omitempty"` // of all partitions
}

// FleetTotals is what the instances tell, taken together. What none of them knows is nil.
type FleetTotals struct {
	MessagesPerS   *float64 `json:"messages_per_s,omitempty"`
	DeliveriesPerS *float64 `json:"deliveries_per_s,omitempty"`
	Connections    *int64   `json:"connections,omitempty"`
	Users          *int64   `json:"users,omitempty"` // each counts once an instance
	Backlog        *int64   `json:"backlog,omitempty"`
	LagMS          *int64   `json:"lag_ms,omitempty"` // of the instance that is most behind
	RowsPerS       *float64 `json:"rows_per_s,omitempty"`
	P99MS          *float64 `json:"p99_ms,omitempty"` // of the slowest instance
	DeadLetters    *int64   `json:"dead_letters,omitempty"`
}

// statusOld is the age at which a status is of somebody who may be dead already: others find that out later, and until then
// what he had is counted nowhere.
const statusOld = 4 * StatusInterval

// TotalsOf adds up what adds up, and takes the worst of the rest. A status much older than the newest does not count.
func TotalsOf(instances []InstanceStatus) FleetTotals {
	var t FleetTotals
	var newest int64
	for i := range instances {
		newest = max(newest, instances[i].SeenMS)
	}
	for i := range instances {
		s := &instances[i]
		if s.SeenMS < newest-statusOld.Milliseconds() {
			continue
		}
		t.MessagesPerS = combined(t.MessagesPerS, s.MessagesPerS, add)
		t.DeliveriesPerS = combined(t.DeliveriesPerS, s.DeliveriesPerS, add)
		t.RowsPerS = combined(t.RowsPerS, s.RowsPerS, add)
		t.P99MS = combined(t.P99MS, s.P99MS, larger)
		t.Connections = combined(t.Connections, s.Connections, add)
		t.Users = combined(t.Users, s.Users, add)
		t.Backlog = combined(t.Backlog, s.Backlog, add)
		t.LagMS = combined(t.LagMS, s.LagMS, larger)
		t.DeadLetters = combined(t.DeadLetters, s.DeadLetters, larger)
	}
	for _, sum := range []*float64{t.MessagesPerS, t.DeliveriesPerS, t.RowsPerS} {
		if sum != nil { // sums of hundredths are none: 5.5600000000000005
			*sum = math.Round(*sum*100) / 100
		}
	}
	return t
}

type number interface{ int64 | float64 }

func add[N number](a, b N) N    { return a + b }
func larger[N number](a, b N) N { return max(a, b) }

// combined leaves out what is not known.
func combined[N number](sum, next *N, with func(a, b N) N) *N {
	if next == nil {
		return sum
	}
	n := *next
	if sum != nil {
		n = with(*sum, n)
	}
	return &n
}

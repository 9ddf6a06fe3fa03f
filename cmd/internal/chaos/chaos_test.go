package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	instances = 3
	warmUp    = 500 * time.Millisecond
)

// results are those of this process.
var results Results

// TestFaults: each fault alone, under load; every promise holds. The long form repeats a fault for 20 s and longer.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		if !wanted(f.name, f.short) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			figures := f.run(t, seed())
			results.Add(Result{f.name, f.text, f.two, figures})
			figures.log(t)
			judge(t, f, figures)
		})
	}
	writeReport(t) // the tests behind this write it again
}

// TestMixtures strikes with faults at random, one close behind the other: what the first has broken is not whole yet.
func TestMixtures(t *testing.T) {
	for n := range 4 {
		name := fmt.Sprint("mixture-", n)
		if !wanted(name, false) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			f := mixture(name, seed()+uint64(n))
			t.Log(f.text)
			figures := f.run(t, seed()+uint64(n))
			results.Add(Result{f.name, f.text, f.two, figures})
			figures.log(t)
			judge(t, f, figures)
		})
	}
	writeReport(t)
}

// mixture is four faults behind each other, by chance.
func mixture(name string, seed uint64) fault {
	var mixable []fault
	for _, f := range faults {
		if !f.once && !f.two && !f.setup.replica && f.setup.binary == nil && f.name != "none" {
			mixable = append(mixable, f)
		}
	}
	r := rand.New(rand.NewPCG(seed, 7))
	m := fault{name: name, two: true, once: true, setup: setup{ownMySQL: true}}
	var parts []fault
	var names []string
	for range 4 {
		f := mixable[r.IntN(len(mixable))]
		parts, names = append(parts, f), append(names, f.name)
	}
	m.text = fmt.Sprintf("at random (seed %d), without a pause: %s", seed, strings.Join(names, ", "))
	m.strike = func(r *run) {
		for _, f := range parts {
			f.strike(r)
		}
	}
	return m
}

// run is a run with this fault.
func (f *fault) run(t *testing.T, seed uint64) Figures {
	t.Helper()
	t.Logf("seed %d", seed)
	r := startRun(t, newStack(t, f.setup, instances), usual(), seed)
	r.flows()
	r.goOn(warmUp)
	before, err := r.deadlocks(context.Background())
	r.must(err)
	r.firstFault = r.now()
	for round := 0; ; round++ {
		f.strike(r)
		r.healed = r.now()
		if round == 0 {
			r.comeLate()
		}
		if f.last {
			break
		}
		r.flows()
		if f.once || !long() || r.now()-r.firstFault > 20*time.Second {
			break
		}
	}
	if !f.last {
		r.goOn(warmUp)
	}
	h := r.finish()
	figures := r.figures(h)
	if after, err := r.deadlocks(context.Background()); err == nil {
		figures.Deadlocks = max(0, after-before) // the count begins anew with the server
	}
	if f.last {
		figures.Back = 0 // nothing was sent any more
	}
	if f.calm && figures.Deadlocks > 0 {
		figures.Violations[Deadlocked] = figures.Deadlocks
	}
	r.halt()
	return figures
}

func (f Figures) log(t *testing.T) {
	t.Helper()
	t.Logf("%d sent, %d acknowledged, %d unknown on the way; a group silent for %v at most, back after %v, all stored after %v; %d holes, %d resyncs, %d deadlocks",
		f.Sent, f.Acked, f.Unknown, f.Silence.Round(time.Millisecond), f.Back.Round(time.Millisecond), f.Stored.Round(time.Millisecond), f.Holes, f.Resyncs, f.Deadlocks)
}

// mayCost is what two faults at once may cost: messages, and what follows from it when their senders repeat them.
// Everything else is forbidden to them too.
var mayCost = []string{Lost, Vanished, Gap, Unread, HoleLies, WentBack, WrongSeq, Duplicate}

// judge fails the test for every violation that the fault does not excuse.
func judge(t *testing.T, f fault, figures Figures) {
	t.Helper()
	var excused []string
	if f.two {
		excused = mayCost
	}
	tell := t.Error
	if f.two {
		tell = t.Log
	}
	for _, note := range figures.Notes {
		tell(note)
	}
	for _, check := range slices.Sorted(maps.Keys(figures.Violations)) {
		fail := t.Errorf
		if slices.Contains(excused, check) && !slices.Contains(f.keeps, check) {
			fail = t.Logf
		}
		fail("%s: %d", check, figures.Violations[check])
		shown := 0
		for _, v := range figures.Found {
			if v.Check == check && shown < 5 {
				shown++
				t.Log("  ", v)
			}
		}
	}
}

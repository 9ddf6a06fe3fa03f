package domain

import (
	"context"
	"fmt"
	"time"
)

// What charts are drawn of: as long as statuses are kept.
const (
	rateSpan       = StatusKept
	fleetRateStep  = StatusInterval
	groupRateStep  = 5 * time.Second
	statusHolds    = 3 * StatusInterval // a status is still true for so long: the next may come late
	maxRateRecents = 20_000             // messages that are looked at in Redis
)

// Rates are values a second, one a step; nil where nothing is known.
type Rates struct {
	StepMS int64 `json:"step_ms"`
	FromMS int64 `json:"from_ms"` // start of the first step
}

// InstanceRates are those of one instance.
type InstanceRates struct {
	Name       string     `json:"name"`
	Messages   []*float64 `json:"messages"`
	Deliveries []*float64 `json:"deliveries"`
}

// FleetRates are those of all instances that lived within the span, by name.
type FleetRates struct {
	Rates
	Instances []InstanceRates `json:"instances"`
}

// GroupRates are those of one group, over all instances.
type GroupRates struct {
	Rates
	Group    string    `json:"group"`
	Messages []float64 `json:"messages"`
}

// ratesUpTo are the steps that end with the one before now: that of now is not over yet.
func ratesUpTo(nowMS int64, step time.Duration) (r Rates, steps int) {
	ms := step.Milliseconds()
	return Rates{StepMS: ms, FromMS: nowMS/ms*ms - rateSpan.Milliseconds()}, int(rateSpan / step)
}

// RatesSince is where FleetRatesOf begins.
func RatesSince(nowMS int64) int64 {
	r, _ := ratesUpTo(nowMS, fleetRateStep)
	return r.FromMS - statusHolds.Milliseconds()
}

// FleetRatesOf makes a chart of what instances said, each one's by time. Two lives of one name are one line.
func FleetRatesOf(nowMS int64, told [][]InstanceStatus) FleetRates {
	r, steps := ratesUpTo(nowMS, fleetRateStep)
	chart := FleetRates{Rates: r, Instances: []InstanceRates{}}
	at := make(map[string]int)
	for _, statuses := range told {
		if len(statuses) == 0 {
			continue
		}
		name := statuses[0].Name
		i, ok := at[name]
		if !ok {
			i = len(chart.Instances)
			at[name] = i
			chart.Instances = append(chart.Instances, InstanceRates{
				Name: name, Messages: make([]*float64, steps), Deliveries: make([]*float64, steps),
			})
		}
		chart.Instances[i].draw(r, statuses)
	}
	return chart
}

// draw puts into each step what the last status up to its end says, if that is not long ago.
func (line *InstanceRates) draw(r Rates, statuses []InstanceStatus) {
	next := 0
	for step := range line.Messages {
		end := r.FromMS + int64(step+1)*r.StepMS
		for next < len(statuses) && statuses[next].SeenMS < end {
			next++
		}
		if next == 0 || statuses[next-1].SeenMS < end-statusHolds.Milliseconds() {
			continue
		}
		line.Messages[step], line.Deliveries[step] = statuses[next-1].MessagesPerS, statuses[next-1].DeliveriesPerS
	}
}

// RateCache is the Redis side of a group's rate.
type RateCache interface {
	// Unpersisted is a group's watermark and the times of the messages above it, of the latest up to most, and none from
	// before since. known is false where Redis has no watermark: then MySQL has them all.
	Unpersisted(ctx context.Context, group string, sinceMS int64, most int) (watermark int64, times []int64, known bool, err error)
}

// RateStore is the MySQL side of a group's rate.
type RateStore interface {
	// MessageCounts counts a group's messages since a time in steps, by their start; only those up to a seq.
	MessageCounts(ctx context.Context, group string, sinceMS, stepMS, upTo int64) (map[int64]int64, error)
}

// GroupRatesOf counts a group's messages. Each counts once: MySQL's up to the watermark, Redis' above it.
func GroupRatesOf(ctx context.Context, cache RateCache, store RateStore, group string, nowMS int64) (*GroupRates, error) {
	if err := CheckGroup("group", group); err != nil {
		return nil, err
	}
	r, steps := ratesUpTo(nowMS, groupRateStep)
	watermark, times, known, err := cache.Unpersisted(ctx, group, r.FromMS, maxRateRecents)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("rate of %s: %w", group, err), "Redis")
	}
	if !known {
		watermark = 1 << 53
	}
	counts, err := store.MessageCounts(ctx, group, r.FromMS, r.StepMS, watermark)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("rate of %s: %w", group, err), "MySQL")
	}
	rates := &GroupRates{Rates: r, Group: group, Messages: make([]float64, steps)}
	for start, n := range counts {
		rates.add(start, n)
	}
	for _, ms := range times {
		rates.add(ms, 1)
	}
	return rates, nil
}

func (g *GroupRates) add(ms, n int64) {
	if ms < g.FromMS {
		return
	}
	if step := int((ms - g.FromMS) / g.StepMS); step < len(g.Messages) {
		g.Messages[step] += float64(n*1000) / float64(g.StepMS)
	}
}

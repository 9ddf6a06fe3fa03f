package redisrepo

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// bucket is the plain token bucket that the script's GCRA has to equal.
type bucket struct {
	rate, burst float64
	tokens      float64
	at          int64 // ms
}

func (b *bucket) refill(now int64) {
	b.tokens = math.Min(b.burst, b.tokens+float64(now-b.at)*b.rate/1000)
	b.at = now
}

// wait is how many ms until there is a token and reserve tokens beside it; negative when there are already.
func (b *bucket) wait(reserve float64) float64 { return (1 + reserve - b.tokens) * 1000 / b.rate }

func TestRatesAreTokenBuckets(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := int64(1_700_000_000_000)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		g := fmt.Sprint("rates", n)
		cfg := AppendConfig{
			UserRate:  rapid.SampledFrom([]float64{0, 0.5, 3, 20}).Draw(rt, "user rate"),
			UserBurst: rapid.IntRange(1, 8).Draw(rt, "user burst"),
			GroupRate: rapid.SampledFrom([]float64{0, 0.4, 1, 2.5, 7, 30}).Draw(rt, "group rate"),
		}
		s := e.sender(t, e.recovery(group(g, domain.Room)), cfg)
		s.users = newUserRates(0, 1) // goes by another clock; the script's rates are the subject
		defer s.stop()
		groupBucket := bucket{cfg.GroupRate, math.Max(1, cfg.GroupRate), math.Max(1, cfg.GroupRate), now}
		users := map[string]*bucket{}
		for range rapid.IntRange(1, 25).Draw(rt, "sends") {
			now += rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 3000)).Draw(rt, "pause")
			e.mini.SetTime(time.UnixMilli(now))
			d := domain.Draft{Group: g, From: rapid.SampledFrom([]string{"u1", "u2"}).Draw(rt, "user") + g}
			d.Priority = rapid.SampledFrom([]domain.Priority{"", domain.PriorityHigh, domain.PriorityLow}).Draw(rt, "priority")
			if rapid.Bool().Draw(rt, "app server") {
				d.Operator = "key"
			}
			user := users[d.From]
			if user == nil {
				user = &bucket{cfg.UserRate, float64(cfg.UserBurst), float64(cfg.UserBurst), now}
				users[d.From] = user
			}
			userWait, groupWait := -1.0, -1.0
			if cfg.UserRate > 0 && d.Operator == "" {
				user.refill(now)
				userWait = user.wait(0)
			}
			if cfg.GroupRate > 0 {
				groupBucket.refill(now)
				reserve := 0.0
				if d.Priority == domain.PriorityLow { // none of the last 20 %, but a whole token is never out of reach
					reserve = groupBucket.burst - math.Max(1, 0.8*groupBucket.burst)
				}
				groupWait = groupBucket.wait(reserve)
			}
			got := await(t, s.post(d))
			wait := userWait
			if wait <= 0 {
				wait = groupWait
			}
			const edge = 0.05 // ms; keys hold µs
			switch {
			case got.err == nil:
				if userWait > edge || groupWait > edge {
					rt.Fatalf("accepted %v and %v ms too early", userWait, groupWait)
				}
				user.tokens, groupBucket.tokens = user.tokens-1, groupBucket.tokens-1
				if d.Operator != "" {
					user.tokens++
				}
			case domain.CodeOf(got.err) != domain.CodeRateLimited:
				rt.Fatalf("got %v", got.err)
			case math.Max(userWait, groupWait) < -edge:
				rt.Fatalf("refused with room for %v and %v ms", userWait, groupWait)
			default:
				after := float64(domain.AsError(got.err).RetryAfter.Milliseconds())
				near := func(wait float64) bool { return after >= wait-edge && after <= math.Ceil(wait+edge) }
				if !near(wait) && !near(groupWait) {
					rt.Fatalf("told to wait %v ms, must wait %v", after, wait)
				}
			}
		}
	})
}

func TestRateByTheServersClock(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{UserRate: 5, UserBurst: 3})
		s.users = newUserRates(0, 1) // goes by another clock; the script's rates are the subject
		d := domain.Draft{Group: "a", From: "u"}
		var times []int64
		refusals := 0
		for len(times) < 6 {
			got := await(t, s.post(d))
			if got.err == nil {
				times = append(times, got.TimeMS)
				continue
			}
			refusals++
			err := domain.AsError(got.err)
			require.Equal(t, domain.CodeRateLimited, err.Code)
			require.LessOrEqual(t, err.RetryAfter, 200*time.Millisecond)
			require.Positive(t, err.RetryAfter)
			pass := time.Now().Add(err.RetryAfter / 4)
			until(t, "a while", func() bool { return time.Now().After(pass) })
		}
		require.Positive(t, refusals)
		require.GreaterOrEqual(t, times[5]-times[0], int64(599), "three of six came at the rate")
		s.must(t, domain.Draft{Group: "a", From: "v"})
		for range 10 {
			s.must(t, domain.Draft{Group: "a", From: "u", Operator: "key"})
		}
	})
}

func TestLowPriorityLeavesTheLastFifthOfTheGroupsRate(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	e.mini.SetTime(time.UnixMilli(1_700_000_000_000)) // stands still
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{GroupRate: 10})
	for range 8 {
		s.must(t, domain.Draft{Group: "a", From: "u", Priority: domain.PriorityLow})
	}
	s.refused(t, domain.CodeRateLimited, domain.Draft{Group: "a", From: "u", Priority: domain.PriorityLow})
	s.must(t, domain.Draft{Group: "a", From: "u", Priority: domain.PriorityHigh})
	s.must(t, domain.Draft{Group: "a", From: "u", Operator: "key"})
	err := s.refused(t, domain.CodeRateLimited, domain.Draft{Group: "a", From: "u", Operator: "key"})
	require.Equal(t, 100*time.Millisecond, err.RetryAfter)
}

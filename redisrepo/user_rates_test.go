package redisrepo

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestUserRatesLetABurstThroughAndThenTheRate(t *testing.T) {
	t.Parallel()
	r := newUserRates(2, 3)
	now := time.Now()
	for range 3 {
		require.Zero(t, r.take("ann", now))
	}
	for range 3 {
		require.Equal(t, 500*time.Millisecond, r.take("ann", now), "asking takes nothing")
	}
	require.Zero(t, r.take("bob", now))
	require.Zero(t, r.take("ann", now.Add(500*time.Millisecond)))
	require.Positive(t, r.take("ann", now.Add(501*time.Millisecond)))
	r.giveBack("ann")
	require.Zero(t, r.take("ann", now.Add(501*time.Millisecond)))
	r.giveBack("nobody")
	off := newUserRates(0, 1)
	for range 100 {
		require.Zero(t, off.take("ann", now))
	}
}

func TestUserRatesForgetWhoseTimeHasPassed(t *testing.T) {
	t.Parallel()
	r := newUserRates(1000, 1)
	now := time.Now()
	for i := range 10 * minSweep {
		require.Zero(t, r.take(fmt.Sprint("u", i), now.Add(time.Duration(i)*time.Millisecond)))
		require.LessOrEqual(t, len(r.arrival), 2*minSweep)
	}
}

func TestAUsersRateHoldsOverAllPartitions(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var rooms []string
		for p := range 8 {
			rooms = append(rooms, groupsIn(p, 1)...)
		}
		r := e.recovery()
		for _, room := range rooms {
			r.groups[room] = group(room, domain.Room)
		}
		s := e.sender(t, r, AppendConfig{UserRate: 0.001, UserBurst: 3})
		first := to(rooms[0], "u")
		first.ClientID = "c1"
		s.must(t, first)
		require.True(t, s.must(t, first).Duplicate, "a repeat is not counted")
		s.must(t, to(rooms[1], "u"))
		s.refused(t, domain.CodeBadRequest, domain.Draft{Group: rooms[2], From: "u", Body: []byte("[]"), ReplyTo: 9}) // nor is what was not stored
		s.must(t, to(rooms[3], "u"))
		for _, room := range rooms {
			err := s.refused(t, domain.CodeRateLimited, to(room, "u"))
			require.Positive(t, err.RetryAfter)
		}
		require.True(t, s.must(t, first).Duplicate, "a repeat is answered all the same")
		s.must(t, to(rooms[4], "v"))
		server := to(rooms[5], "u")
		server.Operator = "key"
		s.must(t, server)
	})
}

package transport

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func refreshOf(token string) string { return `{"id":1,"op":"refresh","token":"` + token + `"}` }

// expires is the reply to a refresh.
type expires struct {
	ExpiresMS int64 `json:"expires_ms"`
}

// dialFor connects ann for a while.
func (s *piped) dialFor(t *testing.T, lifetime time.Duration) *client {
	t.Helper()
	c := s.dialSilently(t, "ann", lifetime)
	c.startReading()
	return c.ready()
}

func TestRefreshMovesTheEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialFor(t, time.Hour)
		time.Sleep(30 * time.Minute)
		end := time.Now().Add(2 * time.Hour)
		var got expires
		c.ok(refreshOf(tokenOf(t, "ann", 2*time.Hour)), &got)
		require.Equal(t, end.UnixMilli(), got.ExpiresMS)
		time.Sleep(time.Until(end) - time.Minute - time.Millisecond)
		c.alive() // no warning of the first one's end, nor that end
		time.Sleep(2 * time.Millisecond)
		require.Equal(t, fmt.Sprintf(`{"event":"token_expiring","expires_ms":%d}`, end.UnixMilli()), c.next().raw)

		later := time.Now().Add(time.Hour)
		c.ok(refreshOf(tokenOf(t, "ann", time.Hour)), &got) // after the warning
		later = later.Truncate(time.Second)                 // as tokens tell the time
		require.Equal(t, later.UnixMilli(), got.ExpiresMS)
		time.Sleep(time.Until(later) - time.Minute - time.Second)
		c.alive()
		time.Sleep(2 * time.Second)
		require.Equal(t, later.UnixMilli(), c.next().ExpiresMS)
		c.goodbyeAt(later)
	})
}

// goodbyeAt waits for the close of a token that ends then.
func (c *client) goodbyeAt(end time.Time) {
	c.t.Helper()
	time.Sleep(time.Until(end) - time.Millisecond)
	c.alive()
	c.goodbye(domain.CloseTokenExpired)
	require.WithinDuration(c.t, end, time.Now(), 10*time.Millisecond)
}

func TestRefreshWithAShorterTokenKeepsTheEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialFor(t, time.Hour)
		end := time.Now().Add(time.Hour)
		var got expires
		for _, lifetime := range []time.Duration{time.Minute, 10 * time.Second, time.Hour} {
			c.ok(refreshOf(tokenOf(t, "ann", lifetime)), &got)
			require.Equal(t, end.UnixMilli(), got.ExpiresMS)
		}
		time.Sleep(time.Until(end) - time.Minute + time.Second)
		require.Equal(t, "token_expiring", c.next().Event)
		c.goodbyeAt(end)
	})
}

func TestRefreshWithABadTokenChangesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialFor(t, 30*time.Second)
		end := time.Now().Add(30 * time.Second)
		require.Equal(t, "token_expiring", c.next().Event)
		for _, token := range []string{
			"x", "x.y.z", secretKey, tokenOf(t, "bob", time.Hour), tokenOf(t, "ann", -time.Minute), tokenOf(t, "ann", time.Hour) + "x",
		} {
			o := c.refused(refreshOf(token), domain.CodeUnauthorized)
			require.Equal(t, int64(1), *o.ID)
			if token != "x" {
				require.NotContains(t, o.raw, token)
				require.NotContains(t, s.log.String(), token)
			}
		}
		c.refused(`{"id":1,"op":"refresh"}`, domain.CodeBadRequest)
		c.refused(refreshOf(""), domain.CodeUnauthorized)
		c.refused(`{"id":1,"op":"refresh","token":7}`, domain.CodeBadRequest)
		c.refused(`{"id":1,"op":"refresh","token":"x","user":"ann"}`, domain.CodeBadRequest)
		c.goodbyeAt(end)
	})
}

// Whatever the moment of the refresh is, before, at or behind the warning: one end, at the new token's.
func TestRefreshAtTheMomentOfTheWarning(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{-time.Nanosecond, 0, time.Nanosecond, expiryWarning - time.Nanosecond} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				opened := time.Now()
				c := s.dialFor(t, 10*time.Minute)
				token := tokenOf(t, "ann", 20*time.Minute)
				end := opened.Add(20 * time.Minute)
				time.Sleep(time.Until(opened.Add(10*time.Minute - expiryWarning + offset)))
				c.write(refreshOf(token))
				warned := 0
				for o := c.next(); ; o = c.next() {
					if o.Event == "token_expiring" {
						warned++
						continue
					}
					require.Equal(t, end.UnixMilli(), decode[expires](t, o.OK).ExpiresMS, o.raw)
					break
				}
				time.Sleep(time.Until(end) - expiryWarning + time.Millisecond)
				for o := c.next(); o.ExpiresMS != end.UnixMilli(); o = c.next() {
					require.Equal(t, "token_expiring", o.Event)
					warned++
				}
				require.LessOrEqual(t, warned, 1, "of the first end")
				c.goodbyeAt(end)
			})
		})
	}
}

// The warning fires, and before it has set the timer of the end the refresh sets its own.
func TestARefreshThatTheWarningOvertakes(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialFor(t, 10*time.Minute)
		first, end := time.Now().Add(10*time.Minute), time.Now().Add(20*time.Minute)
		c.ok(refreshOf(tokenOf(t, "ann", 20*time.Minute)), nil)
		time.Sleep(time.Until(first) - expiryWarning)
		s.open()[0].warnExpiry(first)
		require.Equal(t, first.UnixMilli(), c.next().ExpiresMS)
		time.Sleep(time.Until(end) - expiryWarning - time.Second)
		c.alive()
		time.Sleep(2 * time.Second)
		require.Equal(t, end.UnixMilli(), c.next().ExpiresMS)
		c.goodbyeAt(end)
	})
}

// Who comes with a token that has just expired has the leeway, and what he refreshes with must end behind that.
func TestRefreshWithinTheLeeway(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialFor(t, -10*time.Second)
		require.Equal(t, "token_expiring", c.next().Event)
		var got expires
		end := time.Now().Add(time.Hour)
		c.ok(refreshOf(tokenOf(t, "ann", time.Hour)), &got)
		require.Equal(t, end.UnixMilli(), got.ExpiresMS)
		time.Sleep(40 * time.Second)
		c.alive()
	})
}

package transport

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// Labels come from closed sets: no id, address or error text may become one.
func TestMetricLabelsAreClosedSets(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"direction": {"in", "out"},
		"source":    {"ws"},
		"result": {
			"ok", "bad_request", "unauthorized", "forbidden", "not_member", "muted", "rejected", "stranger_limit", "not_found",
			"conflict", "already_online", "gone", "too_large", "rate_limited", "overloaded", "unavailable", "internal",
		},
		"code":   {"0", "4000", "4001", "4002", "4003", "4004", "4005", "4500", "4501", "4502", "4503"},
		"reason": {"origin", "query", "token", "no_upgrade", "subprotocol", "session", "upgrade", "admission"},
		"action": {"resync", "close"},
		"scope":  {"connection", "admission"},
	}
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		c.ok(sendOf(1, "g", "a", `,"client_id":"c1"`), nil)
		c.message(1)
		c.refused(sendOf(2, "g", "b", `,"client_id":"c1"`), domain.CodeConflict)
		c.refused(sendOf(3, "nowhere-"+"x", "b", ""), domain.CodeNotFound)
		c.refused(`{"id":4,"op":"an op of mine"}`, domain.CodeBadRequest)
		c.refused(`nonsense`, domain.CodeBadRequest)
		require.NoError(t, c.ws.Close())
		gone := s.dialSilently(t, "bob", time.Hour)
		synctest.Wait()
		s.push("g", 1000)
		gone.startReading()
		gone.ready()
		require.Equal(t, "resync", gone.next().Event)
		gone.ok(`{"id":1,"op":"subscribe","group":"g"}`, nil)
		s.open()[0].close(domain.CloseTooSlow, "too slow")
		gone.goodbye(4004)
		synctest.Wait()

		families, err := s.registry.Gather()
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					require.True(t, slices.Contains(allowed[label.GetName()], label.GetValue()), "%s: %s=%q", family.GetName(), label.GetName(), label.GetValue())
					seen[label.GetName()+"="+label.GetValue()] = true
				}
			}
		}
		for _, label := range []string{"direction=in", "direction=out", "result=ok", "result=conflict", "result=not_found", "code=0", "code=4004"} {
			require.True(t, seen[label], label)
		}
		values := map[string]float64{}
		for _, family := range families {
			if m := family.GetMetric()[0]; m.GetGauge() != nil {
				values[family.GetName()] = m.GetGauge().GetValue()
			} else if m.GetCounter() != nil {
				values[family.GetName()] = m.GetCounter().GetValue()
			}
		}
		require.InDelta(t, 0, values["hearth_ws_connections"], 0)
		require.InDelta(t, 0, values["hearth_ws_groups"], 0)
		require.InDelta(t, 2, values["hearth_ws_connections_opened_total"], 0)
	})
}

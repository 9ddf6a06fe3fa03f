package transport

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestWelcomeTellsWhereOneIs(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Direct, "dm:ann:bob", "ann", "bob")
		s.b.add(domain.Room, "joined", "ann")
		c := s.dial(t, "ann")
		o := c.next()
		conn := s.open()[0].id
		require.Equal(t, fmt.Sprintf(`{"event":"welcome","conn":"%s","user":"ann","instance":"one","time_ms":%d,"ping_interval_ms":25000,`+
			`"subscribed":2,"subscribed_all":true,"limits":{"message_bytes":12288,"page":200}}`, conn, time.Now().UnixMilli()), o.raw)
		require.Len(t, conn, 16)
		require.Equal(t, []string{"dm:ann:bob", "g"}, s.ch.subscribed(), "rooms are entered by subscribe")
		require.Equal(t, map[string]int{"dm:ann:bob": 1, "g": 1}, s.Hub().Online())
		s.Hub().Published(s.b.accept("g", 1)[0])
		c.message(1)
	})
}

func TestWelcomeComesFirst(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.confirmsByHand = true }, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "h", "ann")
		c := s.dial(t, "ann")
		c.write(`{"id":1,"op":"ping"}`)
		c.write(`nonsense`)
		synctest.Wait()
		s.Hub().Confirmed("g")
		synctest.Wait()
		require.Empty(t, c.objects, "nothing is written before all channels are there")
		s.Hub().Confirmed("h")
		c.ready()
		for _, p := range s.b.accept("g", 2) {
			s.Hub().Published(p)
		}
		seen := map[string]int{}
		for range 4 {
			o := c.next()
			switch {
			case o.Event == "message":
				seen[fmt.Sprint("message ", o.Seq)]++
			case o.Error != nil:
				seen["error"]++
			case o.OK != nil:
				seen["ok"]++
			}
		}
		require.Equal(t, map[string]int{"message 1": 1, "message 2": 1, "error": 1, "ok": 1}, seen)
		c.alive()
	})
}

func TestWelcomeSubscribesTheMostRecentlyActive(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		for i := range maxSubscribed { // with g, one more than fit
			id := fmt.Sprintf("g%04d", i)
			s.b.add(domain.Private, id, "ann")
			s.b.change(func(b *backend) { b.groups[id].lastMS = int64(1 + i) })
		}
		o := s.dial(t, "ann").next()
		require.Equal(t, maxSubscribed, o.Subscribed)
		require.False(t, o.SubscribedAll)
		require.NotContains(t, s.ch.subscribed(), "g", "nothing was ever said there")
		require.Len(t, s.ch.subscribed(), maxSubscribed)
		o = s.dial(t, "bob").next()
		require.Equal(t, 1, o.Subscribed)
		require.True(t, o.SubscribedAll)
	})
}

func TestWhoCannotBeSubscribedComesBackLater(t *testing.T) {
	t.Parallel()
	t.Run("stores away", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			s.b.change(func(b *backend) { b.before = failing("GroupsOf") })
			s.dial(t, "ann").goodbye(domain.CloseServerError)
		})
	})
	t.Run("channel never confirmed", func(t *testing.T) {
		t.Parallel()
		inBubble(t, func(o *options) { o.confirmsByHand = true }, func(t *testing.T, s *piped) {
			started := time.Now()
			s.dial(t, "ann").goodbye(domain.CloseServerError)
			require.Equal(t, opTimeout, time.Since(started))
			synctest.Wait()
			require.Empty(t, s.ch.subscribed(), "its channel is given up")
			require.Empty(t, s.open())
		})
	})
}

func TestSubscribedGroupsAreGivenUpWithTheLastConnection(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		bob.ok(`{"id":1,"op":"subscribe","group":"r"}`, nil)
		require.Equal(t, []string{"g", "r"}, s.ch.subscribed())
		require.Equal(t, map[string]int{"g": 2, "r": 1}, s.Hub().Online())
		require.NoError(t, bob.ws.Close())
		synctest.Wait()
		require.Equal(t, []string{"g"}, s.ch.subscribed())
		require.NoError(t, ann.ws.Close())
		synctest.Wait()
		require.Empty(t, s.ch.subscribed())
		require.Empty(t, s.Hub().Online())
		require.Empty(t, s.hub.feeds)
	})
}

func TestOnlineCountsUsersNotConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		for range 3 {
			s.dial(t, "ann").ready()
		}
		require.Equal(t, map[string]int{"g": 1}, s.Hub().Online())
	})
}

// decode reads JSON that is known to be good.
func decode[T any](t testing.TB, raw json.RawMessage) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(raw, &v))
	return v
}

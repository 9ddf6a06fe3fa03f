package console

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func value[N any](v N) *N { return &v }

func TestOverviewShowsTheFleet(t *testing.T) {
	t.Parallel()
	b := &backend{
		fleet: []domain.InstanceStatus{
			{Name: "a", Version: "v1", SeenMS: 10, Ready: true, Connections: value(int64(3)), MessagesPerS: value(1.5), Backlog: value(int64(0))},
			{Name: "b", Version: "v1", SeenMS: 11, Draining: true, Connections: value(int64(4))},
		},
		ranking: []domain.HotEntry{{Rank: 1, Group: "tea", Name: "Tea", Type: domain.Room, Heat: 3, Online: 2, LastMS: 9}},
	}
	c := newConsole(t, b)
	require.JSONEq(t, `{"time_ms":1700000001234,"instance":"a","totals":{"messages_per_s":1.5,"connections":7,"backlog":0},
			"stores":{"redis":{"ok":true},"mysql":{"ok":true}},
			"instances":[
				{"name":"a","version":"v1","started_ms":0,"seen_ms":10,"draining":false,"ready":true,"connections":3,"messages_per_s":1.5,"backlog":0},
				{"name":"b","version":"v1","started_ms":0,"seen_ms":11,"draining":true,"ready":false,"connections":4}],
			"hot":{"snapshot":"s1","time_ms":5,"window_ms":300000,"groups":[
				{"rank":1,"group":"tea","name":"Tea","type":"room","heat":3,"online":2,"last_message_ms":9}]}}`,
		ask(t, c, "GET", "/console/api/overview", ""))
}

func TestOverviewGoesOnWithoutTheStores(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{redisErr: errDown, mysqlErr: errDown}
		c := newConsole(t, b)
		var o Overview
		require.NoError(t, json.Unmarshal([]byte(ask(t, c, "GET", "/console/api/overview", "")), &o))
		require.Len(t, o.Instances, 1, "this one")
		require.Equal(t, "a", o.Instances[0].Name)
		require.False(t, o.Stores["redis"].OK, "though no check has seen it yet")
		require.Equal(t, StoreState{SinceMS: 1_700_000_001_234 - 5000, Hint: "does not answer"}, o.Stores["mysql"], "by Redis' clock")
		require.Nil(t, o.Hot)
		require.Nil(t, o.Totals.Connections, "not known is not 0")
	})
}

func TestOverviewIsMadeOnceASecondForAllAndForNobodyNever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		c := newConsole(t, b)
		time.Sleep(time.Minute)
		require.Zero(t, b.looked())
		for second := 1; second <= 3; second++ {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if response := do(c, request("GET", "/console/api/overview", "", asAdmin)); response.StatusCode != http.StatusOK {
						t.Error(response.Status)
					}
				})
			}
			all.Wait()
			require.Equal(t, second, b.looked())
			time.Sleep(time.Second)
		}
	})
}

func TestTheChartOfTheFleetIsMadeOnceAStepForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		c := newConsole(t, b)
		b.redisErr = errDown
		requireRefused(t, do(c, request("GET", "/console/api/rates", "", asAdmin)), domain.CodeUnavailable)
		b.redisErr, b.charts = nil, 0
		for step := 1; step <= 3; step++ {
			for range 20 {
				ask(t, c, "GET", "/console/api/rates", "")
			}
			require.Equal(t, step, b.charts)
			time.Sleep(domain.StatusInterval)
		}
	})
}

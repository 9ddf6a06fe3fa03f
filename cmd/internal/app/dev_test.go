package app

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// startDev starts one instance without bots.
func startDev(t *testing.T, addr string) *Dev {
	t.Helper()
	dev, err := StartDev(t.Context(), DevConfig{Addr: addr, Instances: 1, Dir: t.TempDir(), Log: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, dev.Stop(ctx))
	})
	return dev
}

// askDemoToken is the status that a demo page gets which was opened under a name.
func askDemoToken(t *testing.T, dev *Dev, host string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, dev.URLs[0]+"/demo/token", strings.NewReader(`{"user":"ann"}`))
	require.NoError(t, err)
	r.Host = host
	r.Header.Set("Origin", "http://"+host)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

func TestDevAnswersToTheNamesOfItsAddress(t *testing.T) {
	t.Parallel()
	dev := startDev(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(dev.URLs[0], "http://"))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, askDemoToken(t, dev, "127.0.0.1:"+port))
	require.Equal(t, http.StatusForbidden, askDemoToken(t, dev, "evil.example:"+port))
}

func TestDevOnEveryInterfaceAnswersToEveryName(t *testing.T) {
	t.Parallel()
	dev := startDev(t, ":0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(dev.URLs[0], "http://"))
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:"+port, dev.URLs[0], "what can be typed")
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "192.0.2.2:" + port, "laptop.example"} {
		require.Equal(t, http.StatusOK, askDemoToken(t, dev, host), host)
	}
}

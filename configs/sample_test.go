package configs

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// go test ./configs -run Sample -update writes hearth.yaml anew.
func TestSampleFileIsGenerated(t *testing.T) { // not parallel: the others read the file
	want := sample(placeholder)
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile("hearth.yaml", want, 0o644))
	}
	got, err := os.ReadFile("hearth.yaml")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), string(got)), "hearth.yaml is old: go test ./configs -run Sample -update")
}

var _ = flag.Bool("update", false, "write hearth.yaml anew")

func TestSampleFileHasTheDefaults(t *testing.T) {
	t.Parallel()
	c, _, err := Load("hearth.yaml", nil)
	require.NoError(t, err)
	require.EqualValues(t, placeholder, c.Auth.JWTHMACSecret)
	c.Auth.JWTHMACSecret = ""
	require.Empty(t, cmp.Diff(Default(), c, equateEmpty()))
}

func TestSampleFileDoesNotServe(t *testing.T) {
	t.Parallel()
	_, _, err := LoadServe("hearth.yaml", []string{"HEARTH_REDIS_ADDRS=r:1", "HEARTH_MYSQL_DSN=u:p@tcp(h:1)/d"})
	require.ErrorContains(t, err, "well-known sample secret")
	require.Len(t, err, 1)
}

func TestSampleServesOnceTheAddressesAreThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	require.NoError(t, os.WriteFile(path, Sample(), 0o600))
	_, warnings, err := LoadServe(path, []string{"HEARTH_REDIS_ADDRS=r:1", "HEARTH_MYSQL_DSN=u:p@tcp(h:1)/d"})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.NotEqual(t, Sample(), Sample())
}

func TestEveryKeyIsDocumentedAndHasItsVariable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, s := range allSections() {
		require.NotEmpty(t, s.doc, s.name)
		for _, k := range s.keys {
			require.NotEmpty(t, k.doc, k.path)
			require.NotContains(t, k.path, "..")
			require.False(t, seen[k.env], k.env)
			seen[k.env] = true
			require.Equal(t, "HEARTH_"+strings.ToUpper(strings.ReplaceAll(k.path, ".", "_")), k.env)
		}
	}
	require.Len(t, EnvNames(), len(seen))
	for _, name := range []string{ // promised to others
		"HEARTH_HTTP_ADDR", "HEARTH_HTTP_INTERNAL_ADDR", "HEARTH_NODE_NAME", "HEARTH_REDIS_ADDRS", "HEARTH_REDIS_MODE",
		"HEARTH_REDIS_SENTINEL_MASTER", "HEARTH_REDIS_PASSWORD", "HEARTH_MYSQL_DSN", "HEARTH_AUTH_JWT_HMAC_SECRET",
		"HEARTH_AUTH_API_KEYS", "HEARTH_AUTH_ALLOW_QUERY_TOKEN", "HEARTH_HEAT_WINDOW", "HEARTH_HEAT_SNAPSHOT_TTL",
		"HEARTH_HEAT_WEIGHTS_SPEAKERS", "HEARTH_HEAT_WEIGHTS_MESSAGES", "HEARTH_HEAT_WEIGHTS_ONLINE",
		"HEARTH_LIMITS_USER_RATE", "HEARTH_LIMITS_GROUP_RATE", "HEARTH_LIMITS_CONNECTION_RATE", "HEARTH_LOG_LEVEL",
		"HEARTH_DIRECT_STRANGER_LIMIT", "HEARTH_SESSION_POLICY",
	} {
		require.True(t, seen[name], name)
	}
}

// Every variable reaches its own key: what Print shows of a key, put into its variable, gives it back.
func TestEveryVariableSetsItsKey(t *testing.T) {
	t.Parallel()
	defaults := Default()
	for _, k := range keys() {
		if k.of(&defaults).IsZero() {
			continue
		}
		value := strings.Trim(yamlValue(k.of(&defaults)), `"`)
		if list, ok := k.of(&defaults).Interface().([]string); ok {
			value = strings.Join(list, ",")
		}
		var c Config
		require.NoError(t, setFromEnv(&c, k, value), k.env)
		require.Equal(t, k.of(&defaults).Interface(), k.of(&c).Interface(), k.env)
		k.of(&c).SetZero()
		require.Equal(t, Config{}, c, "%s sets another key too", k.env)
	}
}

func TestPrintIsReadBackTheSame(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Node.Name = "off"
	c.Redis.Addrs = []string{"a:1", "[::1]:2"}
	c.Redis.Mode = "cluster"
	c.MySQL.Migrate = "off"
	path := filepath.Join(t.TempDir(), "printed.yaml")
	require.NoError(t, os.WriteFile(path, c.Print(), 0o600))
	back, _, err := Load(path, nil)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(c, back, equateEmpty()))

	// Other readers of YAML see the same.
	var other map[string]map[string]any
	require.NoError(t, yaml.Unmarshal(c.Print(), &other))
	require.Equal(t, "off", other["mysql"]["migrate"])
}

// equateEmpty takes an empty list for a nil one.
func equateEmpty() cmp.Option {
	return cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

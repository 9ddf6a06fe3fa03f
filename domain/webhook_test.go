package domain_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestWebhookKeysAreReadInEveryFormOfTheSpecification(t *testing.T) {
	t.Parallel()
	one, two := []byte("an early bird of 24 byte"), []byte("the worm, which is longer: 32 b.")
	oneText, twoText := base64.StdEncoding.EncodeToString(one), base64.StdEncoding.EncodeToString(two)
	for _, text := range []string{oneText + "," + twoText, "whsec_" + oneText + ", whsec_" + twoText, " " + oneText + ",whsec_" + twoText + " "} {
		keys, err := domain.WebhookKeys(text)
		require.NoError(t, err)
		require.Equal(t, [][]byte{one, two}, keys)
	}
	keys, err := domain.WebhookKeys("what is no base64 is the key itself")
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("what is no base64 is the key itself")}, keys)
}

func TestWebhookKeysThatAreNoneAreRefusedWithoutBeingShown(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte("an early bird of 24 byte"))
	for text, why := range map[string]string{
		"":                           "is required",
		" ":                          "is required",
		"whsec_":                     "secret 1 has 0 bytes, needs at least 24",
		good + ",":                   "secret 2 has 0 bytes",
		"whsec_SGVhcnRoIGlzIHdhcm0=": "secret 1 has 14 bytes",
		"whsec_not base64":           "secret 1 must have base64 behind whsec_",
		good + ",hunter2!":           "secret 2 has 8 bytes",
	} {
		keys, err := domain.WebhookKeys(text)
		require.ErrorContains(t, err, why, "WebhookKeys(%q) = %q", text, keys)
		for _, part := range strings.Split(text, ",") {
			if part = strings.TrimPrefix(strings.TrimSpace(part), "whsec_"); part != "" {
				require.NotContains(t, err.Error(), part)
			}
		}
	}
}

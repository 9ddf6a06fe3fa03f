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
		"not base64, of course":      "secret 1 must be base64",
		good + ",hunter2!":           "secret 2 must be base64",
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

package webhook

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers are those of the specification's own libraries, and were computed again with
// `openssl dgst -sha256 -mac HMAC`.
func TestSignOfAKnownRequest(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	body := []byte(`{"test": 2432232314}`)
	require.Equal(t, want, sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body))
	require.Equal(t, want+" "+want, sign([][]byte{key, key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body))
}

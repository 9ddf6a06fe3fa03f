package domain_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// crc16Bitwise is CRC16/XMODEM as its definition reads, one bit at a time.
func crc16Bitwise(s string) (crc uint16) {
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

func TestPartitionIsRedisClustersChecksum(t *testing.T) {
	t.Parallel()
	const all = domain.Partitions(1 << 16) // the checksum itself
	require.Equal(t, 0x31C3, all.Of("123456789"), "the check value of CRC16/XMODEM")
	require.Equal(t, 0, all.Of(""))
	require.Equal(t, 12182, domain.Partitions(16384).Of("foo"), "the slot that CLUSTER KEYSLOT foo gives")
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(anyID(), rapid.String()).Draw(t, "id")
		n := rapid.IntRange(1, 1<<16).Draw(t, "partitions")
		require.Equal(t, int(crc16Bitwise(id))%n, domain.Partitions(n).Of(id), "Partitions(%d).Of(%q)", n, id)
	})
}

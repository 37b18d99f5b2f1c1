package kernel

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// marshal adds an expression. The library encodes any, and with a dozen allocations: of those that most rules are made of the same
// bytes come from here.
func (b *builder) marshal(x expr.Any) error {
	switch x := x.(type) {
	case *expr.Cmp:
		b.expression("cmp", func() {
			b.u32(unix.NFTA_CMP_SREG, x.Register)
			b.u32(unix.NFTA_CMP_OP, uint32(x.Op))
			b.nest(unix.NFTA_CMP_DATA, func() { b.raw(unix.NFTA_DATA_VALUE, x.Data) })
		})
	case *expr.Verdict:
		b.expression("immediate", func() {
			b.u32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
			b.nest(unix.NFTA_IMMEDIATE_DATA, func() {
				b.nest(unix.NFTA_DATA_VERDICT, func() {
					b.u32(unix.NFTA_VERDICT_CODE, uint32(x.Kind))
					if x.Chain != "" {
						b.str(unix.NFTA_VERDICT_CHAIN, x.Chain)
					}
				})
			})
		})
	case *expr.Objref:
		b.expression("objref", func() {
			b.u32(unix.NFTA_OBJREF_IMM_TYPE, uint32(x.Type))
			b.raw(unix.NFTA_OBJREF_IMM_NAME, []byte(x.Name))
		})
	case *expr.Lookup:
		b.expression("lookup", func() {
			b.u32(unix.NFTA_LOOKUP_SREG, x.SourceRegister)
			if x.IsDestRegSet {
				b.u32(unix.NFTA_LOOKUP_DREG, x.DestRegister)
			}
			if x.Invert {
				b.u32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
			}
			b.str(unix.NFTA_LOOKUP_SET, x.SetName)
			b.u32(unix.NFTA_LOOKUP_SET_ID, x.SetID)
		})
	case *expr.Meta:
		if x.SourceRegister {
			return b.foreign(x)
		}
		b.expression("meta", func() {
			b.u32(unix.NFTA_META_KEY, uint32(x.Key))
			b.u32(unix.NFTA_META_DREG, x.Register)
		})
	case *expr.Payload:
		if x.OperationType != expr.PayloadLoad || x.CsumType != 0 {
			return b.foreign(x)
		}
		b.expression("payload", func() {
			b.u32(unix.NFTA_PAYLOAD_DREG, x.DestRegister)
			b.u32(unix.NFTA_PAYLOAD_BASE, uint32(x.Base))
			b.u32(unix.NFTA_PAYLOAD_OFFSET, x.Offset)
			b.u32(unix.NFTA_PAYLOAD_LEN, x.Len)
		})
	default:
		return b.foreign(x)
	}
	return nil
}

// foreign adds an expression as the library encodes it.
func (b *builder) foreign(x expr.Any) error {
	data, err := expr.Marshal(unix.NFPROTO_INET, x)
	b.buf = append(b.buf, data...)
	return err
}

// expression adds an expression of a kind, which fill describes.
func (b *builder) expression(kind string, fill func()) {
	b.str(unix.NFTA_EXPR_NAME, kind)
	b.nest(unix.NFTA_EXPR_DATA, fill)
}

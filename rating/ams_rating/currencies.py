"""ISO 4217: currencies that people pay in, and how many decimals their minor unit has.

Without the codes for funds, metals and testing. From ISO 4217's list one of 2026.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

_TWO = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD
NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"

MINOR_UNIT_DIGITS: Mapping[str, int] = {
    code: digits for codes, digits in ((_NONE, 0), (_TWO, 2), (_THREE, 3)) for code in codes.split()
}


def round_to_minor_unit(amount: Decimal, currency: str) -> Decimal:
    """Half-even, to the currency's minor unit. Raises KeyError for a currency AMS doesn't bill in."""
    return amount.quantize(Decimal(1).scaleb(-MINOR_UNIT_DIGITS[currency]), rounding=ROUND_HALF_EVEN)

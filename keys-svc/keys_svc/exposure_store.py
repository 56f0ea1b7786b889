"""What is asked about keys that were found in public: what each query is, exposures.sql says."""

from uuid import UUID

from ams_common.queries import QueryStore, many, maybe_value, run

from keys_svc.exposures import Exposure


class ExposureStore(QueryStore, package="keys_svc", file="exposures.sql"):
    add_exposure = maybe_value(UUID)
    list_exposures = many(Exposure)
    list_untold_exposures = many(Exposure)
    mark_told = run()
    set_exposure_choice = run()
